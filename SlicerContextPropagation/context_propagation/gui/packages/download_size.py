"""How much pip is going to download: the files from its own report, their sizes from the servers they lie on."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 10


AT_ONCE = 8


@dataclass(frozen=True)
class DownloadSize:
    """What is going to be downloaded.

    Attributes:
        files: How many.
        bytes: Together; None where a server does not say.
    """

    files: int
    bytes: int | None


def addresses_in(report: Path) -> list[str]:
    """The files that pip's report of a dry run names; a file on this computer is none to download."""
    items = json.loads(report.read_text("utf-8"))["install"]
    addresses = [item["download_info"]["url"] for item in items]
    return [address for address in addresses if not address.startswith("file:")]


def download_size(addresses: Sequence[str], wait_until: Callable[[Callable[[], bool]], None]) -> DownloadSize:
    """Ask for each file's size; the network is used.

    Args:
        addresses: Of the files.
        wait_until: Lets the application work until something is done.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(_size, address) for address in addresses]
        wait_until(lambda: all(one.done() for one in asked))
    sizes = [one.result() for one in asked]
    known = [size for size in sizes if size is not None]
    return DownloadSize(len(sizes), sum(known) if len(known) == len(sizes) else None)


def _size(address: str) -> int | None:
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            length = answer.headers.get("Content-Length")
            return int(length) if length else None
    except (OSError, ValueError):  # one that wants a password, or none at all: pip knows better how to ask
        return None
