"""`context-propagation serve`: sessions of several people on this computer's GPU."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from context_propagation.core.bundle.shipped_bundle import FOLDER
from context_propagation.core.device import DEVICES
from context_propagation.core.optional_dependency import require
from context_propagation.server.limits import Limits
from context_propagation.server.serving import DEFAULT_PORT, ServeRequest, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add, usual = parser.add_argument, Limits()
    add(
        "--bundles", type=Path, default=FOLDER.parent, metavar="DIR",
        help="a folder whose own folders are bundles or models; without it, the bundle of the demo",
    )  # fmt: skip
    add("--host", default="127.0.0.1", help="address to listen on; any but 127.0.0.1 needs --token-file and TLS")
    add("--port", type=int, default=DEFAULT_PORT, help=f"{DEFAULT_PORT} by default")
    add("--device", choices=DEVICES, default="auto")
    add("--token-file", type=Path, metavar="FILE", help="a line 'name token' for each person who may use the server")
    add("--certificate", type=Path, metavar="PEM", help="the server's certificate, for TLS")
    add("--key", type=Path, metavar="PEM", help="the certificate's key")
    add("--behind-proxy", action="store_true", help="a proxy that ends TLS is all that can reach the address")
    add("--sessions", type=_positive, default=usual.sessions, metavar="N", help=f"open at a time; {usual.sessions}")
    add(
        "--image-mib", type=_positive, default=usual.image_bytes // 2**20, metavar="N",
        help=f"main memory for all images; {usual.image_bytes // 2**20}",
    )  # fmt: skip
    add(
        "--lease", type=_positive, default=int(usual.lease_s), metavar="SECONDS",
        help=f"a session of which nothing is heard for so long is closed; {usual.lease_s:.0f}",
    )  # fmt: skip


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}; give 1 or more")
    return number


def run(sessions: int, image_mib: int, lease: int, **fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    limits = Limits(sessions=sessions, image_bytes=image_mib * 2**20, lease_s=float(lease))
    require("fastapi", extra="server")
    from context_propagation.page.api import add_page

    return serve(ServeRequest(**fields, limits=limits), add_page)
