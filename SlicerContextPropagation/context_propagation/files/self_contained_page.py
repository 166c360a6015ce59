"""An HTML page that is one file: no script, nothing from elsewhere, and all text that is put into it is escaped."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

PAGE_MARK = "made by context-propagation"
"""What a page's first lines say: by it a page of ours is known, which a new one may replace."""


_SKELETON = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="{{ mark }}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title><style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { border-bottom: 1px solid #ddd; padding: .25em .6em; text-align: left; white-space: nowrap }
tr:hover { background: #f4f4f4 }
section { overflow-x: auto; border-top: 3px solid #888; margin-top: 3em }
img { max-width: 100% }
figcaption { font-size: 13px; color: #555 }
</style></head>
<body>
{{ body }}
</body></html>
"""


_PICTURE = """<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ data }}">
<figcaption>{{ caption }}</figcaption></figure>"""


def check_page_ending(path: Path) -> None:
    """Refuse a page whose name is that of another kind of file.

    Raises:
        UserInputError: The name does not end in .html.
    """
    if path.suffix.lower() != ".html":
        raise UserInputError(f"'{path}' is no page; end its name in .html")


def self_contained_page(title: str, template: str, **content: Any) -> str:
    """A whole page.

    Args:
        title: What the browser calls it.
        template: Jinja2, of the page's body; it has `title`, and `picture(png, caption)`, which puts in a picture.
        content: What the template names. It is text, and escaped, unless it is `Markup`.

    Raises:
        MissingDependencyError: Jinja2 is not installed.
    """
    body = _rendered(template, title=title, picture=_picture, **content)
    return str(_rendered(_SKELETON, title=title, mark=PAGE_MARK, body=body))


def _picture(png: bytes, caption: str) -> Any:
    return _rendered(_PICTURE, data=base64.b64encode(png).decode(), caption=caption)


def _rendered(template: str, **content: Any) -> Any:
    """Markup, which other templates take as it is."""
    return require("markupsafe", extra="cli").Markup(_environment().from_string(template).render(**content))


@cache
def _environment() -> Any:
    jinja2 = require("jinja2", extra="cli")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
