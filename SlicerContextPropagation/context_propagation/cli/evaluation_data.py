"""The data of an evaluation: which cases train, validate and test in a fold, and the variant's files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.cli.benchmark_variants import STYLES, drawn_in_style, shifted_image, style_of
from context_propagation.cli.fusion_jobs import LabelledCase
from context_propagation.cli.protocol import Protocol
from context_propagation.core.errors import UserInputError

DATA_VARIABLE = "CONTEXT_PROPAGATION_DATA"


@dataclass(frozen=True)
class FoldCases:
    """Names of the cases of one test fold; no case is in two of them.

    Attributes:
        base: What nnU-Net trains the base model on.
        fusion: What the fusion networks are trained on.
        validation: What chooses the best epoch of their training.
        margin: What chooses the far margin.
        test: What is tested.
    """

    base: tuple[str, ...]
    fusion: tuple[str, ...]
    validation: tuple[str, ...]
    margin: tuple[str, ...]
    test: tuple[str, ...]


def find_data(protocol: Protocol, protocol_file: Path) -> Path:
    """The data folder: beside the protocol as it says, or of that name where `CONTEXT_PROPAGATION_DATA` points.

    Raises:
        UserInputError: There is none, or it lacks folds.json.
    """
    root = os.environ.get(DATA_VARIABLE)
    folder = Path(root) / Path(protocol.data).name if root else protocol_file.parent / protocol.data
    needed = ((folder / "folds.json").is_file(), (folder / "images").is_dir(), (folder / "labels").is_dir())
    if not all(needed):
        raise UserInputError(
            f"No data in '{folder}': it must hold images/, labels/ and folds.json; set {DATA_VARIABLE} to the folder "
            f"in which '{Path(protocol.data).name}' lies, or correct 'data' in the protocol"
        )
    return folder


def cases_of_fold(folder: Path, protocol: Protocol, fold: int) -> FoldCases:
    """Choose the cases: spread over the other folds in name order for the base model, the rest drawn by the seed.

    Raises:
        UserInputError: folds.json cannot be read, or there are too few cases.
    """
    try:
        folds: dict[str, int] = dict(json.loads((folder / "folds.json").read_text(encoding="utf-8"))["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserInputError(
            f"'{folder / 'folds.json'}' cannot be read ({error!r}); give {{'folds': {{case: fold}}}}"
        ) from error
    test = sorted(name for name, own in folds.items() if own == fold)
    others = sorted(name for name, own in folds.items() if own != fold)
    if not test:
        raise UserInputError(f"Fold {fold} has no cases in '{folder / 'folds.json'}'; correct test_folds")
    needed = protocol.base_cases + protocol.fusion_cases + protocol.validation_cases + protocol.margin_cases
    if needed > len(others):
        raise UserInputError(
            f"The protocol asks for {needed} training cases and {len(others)} lie outside fold {fold}; ask for fewer"
        )
    base = others[:: len(others) // protocol.base_cases][: protocol.base_cases]
    rest = [name for name in others if name not in base]
    drawn = np.random.default_rng([protocol.seed, fold]).permutation(rest).tolist()
    if protocol.variant == "observer style":
        drawn, test = _styles_in_turn(drawn), _styles_in_turn(test)
    of_kind = iter(drawn)
    counts = (protocol.fusion_cases, protocol.validation_cases, protocol.margin_cases)
    fusion, validation, margin = (tuple(islice(of_kind, count)) for count in counts)
    return FoldCases(tuple(base), fusion, validation, margin, tuple(test[: protocol.test_cases]))


def _styles_in_turn(names: Sequence[str]) -> list[str]:
    """Every style equally often as long as there are cases of it, in the given order within a style."""
    of_style = [[name for name in names if style_of(name) == style] for style in STYLES]
    return [name for turn in zip_longest(*of_style) for name in turn if name is not None]


@dataclass(frozen=True)
class VariantData:
    """The variant's files: `images/` and `labels/` to train on, `shifted/` to test on where the variant shifts.

    Attributes:
        source: The data folder.
        folder: Where the variant's files are written.
        protocol: Gives the variant.
    """

    source: Path
    folder: Path
    protocol: Protocol

    def training_case(self, name: str) -> LabelledCase:
        """An image as it is, and the label in its observer's style."""
        return self._case(name, self._image(name))

    def test_case(self, name: str) -> LabelledCase:
        """The image that is tested: shifted where the variant says so."""
        image = self._shifted(name) if self.protocol.variant == "shifted" else self._image(name)
        return self._case(name, image)

    def _case(self, name: str, image: Path) -> LabelledCase:
        told = [float(style == style_of(name)) for style in STYLES] if self.has_styles else []
        return LabelledCase(name, (image,), self._label(name), tuple(told))

    @property
    def has_styles(self) -> bool:
        """Whether there is a hidden truth: the observer's style."""
        return self.protocol.variant == "observer style"

    def style_counts(self, folds: Mapping[int, FoldCases]) -> list[str]:
        """For a fold, how many tested and trained cases each observer's style has; nothing where there are none."""
        if not self.has_styles:
            return []

        def counted(names: Sequence[str]) -> str:
            return ", ".join(f"{sum(style_of(name) == style for name in names)} {style}" for style in STYLES)

        return [f"fold {fold}: test {counted(c.test)}; training {counted(c.fusion)}" for fold, c in folds.items()]

    def _image(self, name: str) -> Path:
        return self._made("images", name, lambda path: shutil.copyfile(self._source("images", name), path))

    def _shifted(self, name: str) -> Path:
        def write(path: Path) -> None:
            image = sitk.ReadImage(str(self._source("images", name)))
            shifted = sitk.GetImageFromArray(shifted_image(sitk.GetArrayFromImage(image), name))
            shifted.CopyInformation(image)
            sitk.WriteImage(shifted, str(path))

        return self._made("shifted", name, write)

    def _label(self, name: str) -> Path:
        """All labels together as 1, in the case's style."""

        def write(path: Path) -> None:
            label = sitk.ReadImage(str(self._source("labels", name)))
            truth = sitk.GetArrayFromImage(label) > 0
            drawn = drawn_in_style(truth, style_of(name)) if self.has_styles else truth
            written = sitk.GetImageFromArray(drawn.astype(np.uint8))
            written.CopyInformation(label)
            sitk.WriteImage(written, str(path))

        return self._made("labels", name, write)

    def _source(self, kind: str, name: str) -> Path:
        path = self.source / kind / f"{name}.nii.gz"
        if not path.is_file():
            raise UserInputError(f"'{path}' is missing; check the data folder against its folds.json")
        return path

    def _made(self, kind: str, name: str, write: Callable[[Path], object]) -> Path:
        path = self.folder / kind / f"{name}.nii.gz"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"partial-{name}.nii.gz")
            write(partial)
            os.replace(partial, path)
        return path
