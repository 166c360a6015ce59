"""Which base models see which phantoms: all that the general far network learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.phantom.anatomy import DifficultyName
from context_propagation.core.phantom.phantom import Kind, PhantomSettings
from context_propagation.core.phantom.space import Triple
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.general.general_cases import GeneralCase
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.phantom_cases import nnunet_task, phantom_case
from context_propagation.training.processes import run_in_parallel

FIRST_EXAMPLE = 100
"""From here on, phantoms that no base model of the recipe was trained on."""


DIFFICULTIES: tuple[DifficultyName, ...] = ("lower", "middle", "higher")


SPACINGS: dict[Kind, tuple[Triple | None, ...]] = {
    "organ": (None, (1.5, 1.5, 3.0), (2.0, 2.0, 4.0), (1.6, 2.4, 2.0)),
    "nasopharynx": (None, (2.5, 2.5, 3.5)),
    "oesophagus": (None,),
}


LEVELS = (2, 1, 2, 3)


EDITS, STYLES = 3, 3
"""Of each phantom: simulated edits by its own observer, and further observers with one edit each."""


@dataclass(frozen=True)
class BaseRecipe:
    """A base model and its phantoms.

    Attributes:
        name: Of its folder.
        kind: Of the phantoms.
        model: "nnU-Net" or "PSNN", trained here; "shipped" is that of the bundle that ships.
        epochs: Of its training, as a share of what is asked for.
        phantoms: To learn from, as a share of what is asked for.
    """

    name: str
    kind: Kind
    model: Literal["shipped", "nnU-Net", "PSNN"]
    epochs: float
    phantoms: float

    def trained(self, work: Path, cases: int, epochs: int) -> ModelSource:
        """Train it, or find it trained: on so many phantoms, none of which is learned from later."""
        if self.model == "shipped":
            return ModelSource(shipped_bundle() / "model", device="cpu")
        write = [
            partial(phantom_case, PhantomSettings(self.kind, number=n), *(work / self.kind / k for k in FOLDERS))
            for n in range(cases)
        ]
        written: list[LabelledCase] = run_in_parallel(write, f"phantoms, {self.name}", 1)
        epochs = max(1, round(self.epochs * epochs))
        task, folder = nnunet_task(self.kind), work / "base" / self.kind
        training = BaseTraining(self.model, tuple(written), task, folder, epochs, seed=0)
        return ModelSource(training.run(), device="cpu")

    def cases(self, base: ModelSource, phantoms: int) -> Iterator[GeneralCase]:
        """Phantoms of all difficulties and spacings, images as they are and hard ones, all decoder levels."""
        count, spacings = max(2, round(self.phantoms * phantoms)), SPACINGS[self.kind]
        for number in range(FIRST_EXAMPLE, FIRST_EXAMPLE + count):
            difficulty, spacing = DIFFICULTIES[number // 2 % 3], spacings[number // 3 % len(spacings)]
            settings = PhantomSettings(self.kind, number=number, difficulty=difficulty, spacing_ijk_mm=spacing)
            yield GeneralCase(base, settings, number % 3, LEVELS[number % 4], EDITS, STYLES)


FOLDERS = ("images", "labels")


BASES = (
    BaseRecipe("organ_nnu", "organ", "nnU-Net", 1.0, 1.0),
    BaseRecipe("naso_nnu", "nasopharynx", "shipped", 0.0, 0.28),
    BaseRecipe("organ_psnn", "organ", "PSNN", 1.2, 0.5),
)
