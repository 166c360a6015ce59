"""The data of an evaluation: where its cases come from, and the variant's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.fold_cases import FoldCases
from context_propagation.evaluation.phantom_data import PhantomData
from context_propagation.evaluation.phantom_data import identity as phantom_identity
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.variants import STYLES, drawn_in_style, shifted_image, style_of
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask

DATA_VARIABLE = "CONTEXT_PROPAGATION_DATA"


HIPPOCAMPUS = NnunetTask("Hippocampus", ("MRI",), "hippocampus")


class EvaluationData(Protocol):
    """What an evaluation needs to know of its cases."""

    @property
    def work(self) -> Path:
        """Where trainings go that these data decide."""

    @property
    def task(self) -> NnunetTask:
        """What the base model is trained for."""

    @property
    def folds(self) -> dict[str, int]:
        """The fold of every case."""

    @property
    def has_styles(self) -> bool:
        """Whether there is a hidden truth: the observer's style."""

    def make(self, names: Sequence[str], workers: int | None) -> None:
        """Write what is needed of these cases, where that takes long."""

    def training_case(self, name: str) -> LabelledCase:
        """A case to train on."""

    def test_case(self, name: str) -> LabelledCase:
        """The case that is tested."""

    def style_counts(self, folds: Mapping[int, FoldCases]) -> list[str]:
        """For a fold, a line on its observers' styles; nothing where there are none."""


def evaluation_data(plan: EvaluationPlan, protocol_file: Path, work: Path) -> EvaluationData:
    """The data that a protocol names, with a folder of their own in `work`.

    Raises:
        UserInputError: See `find_data` and `read_folds`.
    """
    if plan.phantom:
        return PhantomData(work / training_key(plan, phantom_identity(plan)), plan)
    source = find_data(plan, protocol_file)
    files = [(path.name, path.stat().st_size) for kind in ("images", "labels") for path in (source / kind).iterdir()]
    return VariantData(source, work / training_key(plan, [read_folds(source), sorted(files)]), plan)


def training_key(plan: EvaluationPlan, data: object) -> str:
    """Equal for protocols that train alike in the folds that they share: a shifted one trains on clean images."""
    deciding = asdict(replace(plan, variant="clean") if plan.variant == "shifted" else plan)
    for name in (
        "name", "data", "test_folds", "test_cases", "rows", "edits", "several_edits_cases", "level", "other_levels",
        "regression_rates", "allowed_regression",
    ):  # fmt: skip
        del deciding[name]
    text = json.dumps([deciding, data, asdict(SessionSettings())], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_data(plan: EvaluationPlan, protocol_file: Path) -> Path:
    """The data folder: beside the protocol as it says, or of that name where `CONTEXT_PROPAGATION_DATA` points.

    Raises:
        UserInputError: There is none, or it lacks folds.json.
    """
    root = os.environ.get(DATA_VARIABLE)
    folder = Path(root) / Path(plan.data).name if root else protocol_file.parent / plan.data
    needed = ((folder / "folds.json").is_file(), (folder / "images").is_dir(), (folder / "labels").is_dir())
    if not all(needed):
        raise UserInputError(
            f"No data in '{folder}': it must hold images/, labels/ and folds.json; set {DATA_VARIABLE} to the folder "
            f"in which '{Path(plan.data).name}' lies, or correct 'data' in the protocol"
        )
    return folder


def read_folds(folder: Path) -> dict[str, int]:
    """The fold of every case.

    Raises:
        UserInputError: folds.json cannot be read.
    """
    try:
        return dict(json.loads((folder / "folds.json").read_text(encoding="utf-8"))["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserInputError(
            f"'{folder / 'folds.json'}' cannot be read ({error!r}); give {{'folds': {{case: fold}}}}"
        ) from error


@dataclass(frozen=True)
class VariantData:
    """The variant's files: `images/` and `labels/` to train on, `shifted/` to test on where the variant shifts.

    Attributes:
        source: The data folder.
        work: Where trainings go; the variant's files are written into `data` in it.
        plan: Gives the variant.
    """

    source: Path
    work: Path
    plan: EvaluationPlan
    task = HIPPOCAMPUS

    @property
    def folds(self) -> dict[str, int]:
        """The fold of every case."""
        return read_folds(self.source)

    def make(self, names: Sequence[str], workers: int | None) -> None:
        """Nothing: each case is quickly written when it is asked for."""

    def training_case(self, name: str) -> LabelledCase:
        """An image as it is, and the label in its observer's style."""
        return self._case(name, self._image(name))

    def test_case(self, name: str) -> LabelledCase:
        """The image that is tested: shifted where the variant says so."""
        image = self._shifted(name) if self.plan.variant == "shifted" else self._image(name)
        return self._case(name, image)

    def _case(self, name: str, image: Path) -> LabelledCase:
        hidden_truth = [float(style == style_of(name)) for style in STYLES] if self.has_styles else []
        return LabelledCase(name, (image,), self._label(name), tuple(hidden_truth))

    @property
    def has_styles(self) -> bool:
        """Whether there is a hidden truth: the observer's style."""
        return self.plan.variant == "observer style"

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
        path = self.work / "data" / kind / f"{name}.nii.gz"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                write(partial)
        return path
