"""What a bundle's own file says of its training: on how many cases, and what the edit was worth; needs no torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from context_propagation.core.errors import UserInputError, counted


@dataclass(frozen=True)
class TrainedBundle:
    """The outcome of a training; each DSC is the mean of the far slices over the validation cases, the largest slice
    redrawn, and None where there was none to measure.

    Attributes:
        path: The bundle.
        training_cases: How many cases the fusion networks were trained on, over all folds.
        validation_cases: How many chose epoch and thresholds.
        before: DSC of the base model.
        control: DSC of the same network trained without being shown the edit.
        with_edit: DSC with the edit.
    """

    path: Path
    training_cases: int
    validation_cases: int
    before: float | None
    control: float | None
    with_edit: float | None

    @property
    def gain(self) -> float | None:
        """What the edit itself is worth: DSC with it, less that of the no-edit control."""
        return None if self.with_edit is None or self.control is None else self.with_edit - self.control

    @property
    def summary(self) -> str:
        """For people."""
        text = f"trained on {counted(self.training_cases, 'case')}, validated on {self.validation_cases}"
        if self.gain is None or self.before is None:
            return f"{text}; no far slice to measure"
        return (
            f"{text}; DSC of far slices {self.before:.3f} before, {self.with_edit:.3f} with an edit, "
            f"{self.control:.3f} by the no-edit control: the edit itself gains {self.gain:+.3f}"
        )


def read_trained_bundle(path: Path) -> TrainedBundle:
    """Read it.

    Raises:
        UserInputError: It is not a bundle that `train-fusion` wrote.
    """
    try:
        made = json.loads((path / "bundle.json").read_text(encoding="utf-8"))["provenance"]
        dsc = made["validation"]["dsc"]
        before, control, with_edit = (
            dsc.get(f"largest, far, {row}") for row in ("baseline", "no-edit control", "fusion")
        )
        cases = sum(made["training_cases"]), sum(made["validation_cases"])
        return TrainedBundle(path, *cases, before, control, with_edit)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserInputError(f"'{path}' says nothing of a training ({error!r:.80}); train again") from error


def place_of_bundle(model: Path, label: str | None = None) -> Path:
    """Where a model's bundle goes unless another place is named: beside the model's folder, never in it.

    Args:
        model: The model's folder.
        label: The label, where one of several was named; then it is in the bundle's name.
    """
    folder = Path(os.path.abspath(model))
    named = "" if label is None else "-" + re.sub(r"[^\w.]+", "_", label)
    return folder.with_name(f"{folder.name}{named}-bundle")
