"""What is asked of a benchmark, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from context_propagation.benchmark.blob import DRAWN, Blob, parsed_size
from context_propagation.benchmark.children import package_folder
from context_propagation.benchmark.networks import Kind, architecture, check_kind
from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError

PUBLISHED_PATCH = 192
"""Edge of nnInteractive's patch."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """What to measure.

    Attributes:
        device: "auto", "cpu" or "cuda".
        sizes: Edges of the cubic windows.
        levels: Decoder levels.
        network: "plain" (nnU-Net's default) and "resenc" (its ResEnc M preset).
        blobs: Sizes of the blob in a window of 128 voxels, such as 60x64x64; in others it is as large a part of them.
        edits: Slices that are drawn one after the other.
        repeats: Of each figure, whose median counts; one more comes first and does not count.
        twice_as_deep: Also measure an edit in a window of twice the depth.
        published_patch: Also measure a prompt at the patch that nnInteractive was published with.
        ct: Also measure a CT with the bundle that ships; I x J x K voxels.
        against: Another checkout of this package, which is timed in turn with this one.
        json: File for the figures.
        plot: File for a picture.
        work: Folder for trained networks; the user's cache folder by default.
        first_channels: Of the networks' first stage; nnU-Net's have 32, tests have fewer.
        steps: Of the training.
    """

    device: str = "auto"
    sizes: tuple[int, ...] = (64, 96, 128)
    levels: tuple[int, ...] = (1, 2)
    network: tuple[Kind, ...] = ("plain", "resenc")
    blobs: tuple[tuple[int, int, int], ...] = ((60, 64, 64),)
    edits: int = 1
    repeats: int = 3
    twice_as_deep: bool = False
    published_patch: bool = False
    ct: tuple[int, int, int] | None = None
    against: Path | None = None
    json: Path | None = None
    plot: Path | None = None
    work: Path | None = None
    first_channels: int = 32
    steps: int = 80

    def __post_init__(self) -> None:
        select_device(self.device)
        for kind in self.network:
            check_kind(kind)
            for size in self.sizes:
                deepest = len(architecture(kind, size, self.first_channels)["arch_kwargs"]["strides"]) - 1
                for level in self.levels:
                    if not 1 <= level <= min(3, deepest):
                        raise UserInputError(
                            f"Decoder level {level} in a window of {size} voxels; choose from 1 to {min(3, deepest)}"
                        )
        for value, name, most in ((self.repeats, "repeats", 100), (self.edits, "edits", len(DRAWN))):
            if not 1 <= value <= most:
                raise UserInputError(f"{value} {name}; give 1 to {most}")
        if self.against is not None:
            package_folder(self.against)
        for file in (self.json, self.plot):
            if file is not None and not file.absolute().parent.is_dir():
                raise UserInputError(
                    f"Folder '{file.absolute().parent}' does not exist; make it, or choose another place"
                )

    @property
    def cache(self) -> Path:
        """Where trained networks are kept."""
        return self.work or cache_folder()

    def cases(self) -> Sequence[Blob]:
        """Every window with every blob."""
        return [Blob(size, blob) for size in self.sizes for blob in self.blobs]


def cache_folder() -> Path:
    """The user's folder for what can be made again."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "context-propagation" / "benchmark"


def parsed_numbers(text: str, what: str) -> tuple[int, ...]:
    """Numbers with commas between them.

    Raises:
        UserInputError: There is something else.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserInputError(
            f"The {what} '{text}' are not whole numbers with commas between them; write them as 64,128"
        )
    return tuple(dict.fromkeys(int(word) for word in words))


def parsed_kinds(text: str) -> tuple[Kind, ...]:
    """Names of networks with commas between them."""
    return tuple(dict.fromkeys(check_kind(word.strip()) for word in text.split(",")))


def parsed_blobs(text: str) -> tuple[tuple[int, int, int], ...]:
    """Sizes with commas between them."""
    return tuple(dict.fromkeys(parsed_size(word.strip()) for word in text.split(",")))


def parsed_ct(text: str) -> tuple[int, int, int]:
    """The size of a CT, I x J x K.

    Raises:
        UserInputError: It is none.
    """
    words = text.lower().split("x")
    if len(words) != 3 or not all(word.isdecimal() and 16 <= int(word) <= 2048 for word in words):
        raise UserInputError(f"The CT '{text}' is not three numbers from 16 to 2048; write it as 512x512x160")
    i, j, k = map(int, words)
    return i, j, k
