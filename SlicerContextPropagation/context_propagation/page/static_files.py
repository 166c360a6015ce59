"""The page as it was built: its files, and what a browser may do with them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response
from fastapi import Path as PathParameter
from starlette.responses import FileResponse, HTMLResponse

from context_propagation.server.refusals import Refusal

BUILT = Path(__file__).parent / "built"
"""`make page` fills it."""


NOT_BUILT = """<!doctype html><html lang="en"><title>Context Propagation</title>
<p>The page of this server is not built. In a clone of the repository, run: <code>make page</code></p>"""


KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}


HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""Nothing comes from anywhere else: the viewer's font is in its script, as data."""


def add_static_files(app: FastAPI) -> None:
    """Give an application the page's own files; these alone are given without a token."""
    built = BUILT

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        if not (built / "index.html").is_file():
            return HTMLResponse(NOT_BUILT, 503, HEADERS)
        return FileResponse(built / "index.html", headers=HEADERS)

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str = PathParameter(pattern=r"^[A-Za-z0-9_-]+\.(js|css|txt|html)$")) -> Response:
        path = built / name
        if not path.is_file():
            raise Refusal(404, f"The page has no file '{name:.60}'; build it again: make page")
        return FileResponse(path, media_type=KINDS[path.suffix], headers=HEADERS)
