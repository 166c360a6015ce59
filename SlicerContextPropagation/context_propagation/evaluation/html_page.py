"""All evaluated protocols on one page that needs no other file: the paper's tables and figures, and ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.files.self_contained_page import self_contained_page

FIGURES = (
    ("best-fold*.png", "Best case: the largest gain from one edit of the largest slice (Fig. 4, 5)"),
    ("typical-fold*.png", "Typical case: the median gain (Fig. 4, 5)"),
    ("worst-fold*.png", "Worst case: the smallest gain (Fig. 4, 5)"),
    ("steps-fold*.png", "Edit after edit, on the typical case (Fig. 6, 7)"),
    ("edits.png", "DSC over the number of edits (Fig. 8)"),
    ("rows.png", "Each row's cases"),
    ("regression.png", "DSC against regression rate"),
)
"""Pictures of a protocol's folder, and what they are; figures of the paper by its numbers."""


_BODY = """<h1>Evaluation</h1>
<ul>
{% for protocol in protocols %}
<li><a href="#{{ protocol.id }}">{{ protocol.name }}</a></li>
{% endfor %}
</ul>
{% for protocol in protocols %}
<section id="{{ protocol.id }}">
{{ protocol.tables }}
{% for png, caption in protocol.figures %}
{{ picture(png, caption) }}
{% endfor %}
</section>
{% endfor %}
"""


@dataclass(frozen=True)
class _Protocol:
    """A protocol's part of the page.

    Attributes:
        id: Its folder's name.
        name: Its own name.
        tables: Its summary.md, as markup.
        figures: PNG and caption of each picture.
    """

    id: str
    name: str
    tables: Any
    figures: tuple[tuple[bytes, str], ...]


def html_page(results: Path) -> str:
    """The page of a folder that holds a folder for each protocol, as `evaluate` writes it.

    Args:
        results: The folder.

    Raises:
        UserInputError: There is no protocol's folder in it, or its summary cannot be read.
        MissingDependencyError: markdown-it-py is not installed.
    """
    folders = sorted(path.parent for path in results.glob("*/summary.json"))
    if not folders:
        raise UserInputError(
            f"'{results}' holds no folder with a summary.json; give the folder that holds the outputs of evaluate"
        )
    names = {folder: _protocol_name(folder) for folder in folders}
    protocols = [_Protocol(folder.name, names[folder], _tables(folder), tuple(_figures(folder))) for folder in folders]
    return self_contained_page("Evaluation", _BODY, protocols=protocols)


def _protocol_name(folder: Path) -> str:
    try:
        return str(json.loads((folder / "summary.json").read_text(encoding="utf-8"))["protocol"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserInputError(
            f"'{folder / 'summary.json'}' is no summary of an evaluation ({error!r:.80}); evaluate the protocol again"
        ) from error


def _tables(folder: Path) -> Any:
    markdown = require("markdown_it", extra="evaluation").MarkdownIt("commonmark", {"html": False}).enable("table")
    try:
        tables = markdown.render((folder / "summary.md").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserInputError(f"Cannot read '{folder / 'summary.md'}'; evaluate the protocol again") from error
    return require("markupsafe", extra="cli").Markup(tables)


def _figures(folder: Path) -> Iterator[tuple[bytes, str]]:
    for pattern, caption in FIGURES:
        for path in sorted(folder.glob(pattern)):
            yield path.read_bytes(), f"{caption}: {path.name}"
