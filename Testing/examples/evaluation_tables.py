"""Small hand-made evaluations, and the cells of what is written of them."""

import pytest

from context_propagation.evaluation.results import COLUMNS
from evaluation_lines import line

pandas = pytest.importorskip("pandas")


def frame(*lines: dict):
    return pandas.DataFrame(list(lines), columns=list(COLUMNS))


def cases(row: str, dsc: list[float], **changes) -> list[dict]:
    """Cases of two folds: the first two in fold 0, the others in fold 1."""
    return [line(row=row, dsc=d, fold=int(n > 1), case=f"c{n}", **changes) for n, d in enumerate(dsc)]


def table_lines(markdown: str, title: str) -> list[list[str]]:
    """The cells of the first table under a heading that starts so, without its ruler."""
    after = markdown[markdown.index(f"### {title}") :].split("\n\n")[1]
    lines = [[cell.strip() for cell in text.strip("|").split("|")] for text in after.splitlines()]
    return [lines[0], *lines[2:]]
