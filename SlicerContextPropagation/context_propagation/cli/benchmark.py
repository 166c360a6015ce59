"""`context-propagation benchmark`: what an edit costs on this computer, beside a forward pass."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from context_propagation.benchmark.request import (
    BenchmarkRequest,
    parsed_blobs,
    parsed_ct,
    parsed_kinds,
    parsed_numbers,
)
from context_propagation.benchmark.run import run_benchmark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add, default = parser.add_argument, BenchmarkRequest
    add("--device", choices=("auto", "cpu", "cuda"), default=default.device)
    add("--sizes", default=default.sizes, metavar="64,96,128", help="edges of the windows, in voxels")
    add("--levels", default=default.levels, metavar="1,2", help="decoder levels")
    add(
        "--network", default=default.network, metavar="plain,resenc",
        help="nnU-Net's default network, and its ResEnc M preset",
    )  # fmt: skip
    add(
        "--blobs", default=default.blobs, metavar="60x64x64,40x48x48,80x80x80",
        help="sizes of the target in a window of 128 voxels",
    )  # fmt: skip
    add("--edits", type=int, default=default.edits, metavar="N", help="slices drawn one after the other, 1 to 5")
    add("--repeats", type=int, default=default.repeats, metavar="N", help="of each figure; the median counts")
    add("--twice-as-deep", action="store_true", help="also an edit in a window of twice the depth")
    add("--published-patch", action="store_true", help="also a prompt at nnInteractive's own patch of 192 voxels")
    add(
        "--ct", nargs="?", const="512x512x160", metavar="IxJxK",
        help="also a CT with the bundle that ships; 512x512x160 by default",
    )  # fmt: skip
    add("--against", type=Path, metavar="FOLDER", help="another checkout of this package, timed in turn with this one")
    add("--json", type=Path, metavar="OUT", help="for all figures")
    add("--plot", type=Path, metavar="FILE", help="for a picture, such as cost.png")
    add("--work", type=Path, metavar="DIR", help="for trained networks; the user's cache folder by default")


PARSED: Mapping[str, Callable[[str], Any]] = {
    "sizes": partial(parsed_numbers, what="sizes"),
    "levels": partial(parsed_numbers, what="levels"),
    "network": parsed_kinds,
    "blobs": parsed_blobs,
    "ct": parsed_ct,
}
"""How the words of an argument become what a request holds; argparse itself would hide what is wrong with them."""


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    words = {name: PARSED[name](value) for name, value in fields.items() if name in PARSED and isinstance(value, str)}
    return run_benchmark(BenchmarkRequest(**{**fields, **words}))
