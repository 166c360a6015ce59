"""All evaluated protocols on one page that needs no other file: the paper's tables and figures, and ours."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

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


STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { border-bottom: 1px solid #ddd; padding: .25em .6em; text-align: left; white-space: nowrap }
tr:hover { background: #f4f4f4 }
section { overflow-x: auto; border-top: 3px solid #888; margin-top: 3em }
img { max-width: 100% }
figcaption { font-size: 13px; color: #555 }
"""


def html_page(results: Path, made_by: str) -> str:
    """The page of a folder that holds a folder for each protocol, as `evaluate` writes it.

    Args:
        results: The folder.
        made_by: What the page says in its first lines.

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
    links = "\n".join(
        f'<li><a href="#{html.escape(folder.name)}">{html.escape(name)}</a></li>' for folder, name in names.items()
    )
    sections = "\n".join(_section(folder) for folder in folders)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="generator" content="{html.escape(made_by)}">'
        f"<title>Evaluation</title><style>{STYLE}</style></head>\n<body>\n<h1>Evaluation</h1>\n"
        f"<ul>\n{links}\n</ul>\n{sections}\n</body></html>\n"
    )


def _protocol_name(folder: Path) -> str:
    try:
        return str(json.loads((folder / "summary.json").read_text(encoding="utf-8"))["protocol"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserInputError(
            f"'{folder / 'summary.json'}' is no summary of an evaluation ({error!r:.80}); evaluate the protocol again"
        ) from error


def _section(folder: Path) -> str:
    """The protocol's summary.md, and its pictures inside the page."""
    markdown = require("markdown_it", extra="evaluation").MarkdownIt("commonmark", {"html": False}).enable("table")
    try:
        tables = markdown.render((folder / "summary.md").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserInputError(f"Cannot read '{folder / 'summary.md'}'; evaluate the protocol again") from error
    figures = "\n".join(_figures(folder))
    return f'<section id="{html.escape(folder.name)}">\n{tables}\n{figures}\n</section>'


def _figures(folder: Path) -> Iterator[str]:
    for pattern, caption in FIGURES:
        for path in sorted(folder.glob(pattern)):
            data = base64.b64encode(path.read_bytes()).decode()
            text = html.escape(f"{caption}: {path.name}")
            yield (
                f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
            )
