"""Examples to train on, which are made once for each case and kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.job_memory import memory_of_a_job
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.places import Leaves
from context_propagation.training.processes import run_in_parallel

Made = TypeVar("Made")


@dataclass(frozen=True)
class ExampleRecipe:
    """All that decides the examples of a case, with the model and the files.

    Attributes:
        settings: Of the session that runs the simulated edits.
        edits: Simulated edits of each case.
        seed: Of the edits drawn at random.
        styles: Further contours of each case, see `contour_styles`; one edit of each.
    """

    settings: SessionSettings
    edits: int
    seed: int
    styles: int = 0


@dataclass(frozen=True)
class KeptExamples(Generic[Made]):
    """A kind of examples.

    Attributes:
        of_case: Makes a case's examples in a folder, where they are not there yet; can be pickled.
        leaves: The files that it leaves there.
    """

    of_case: Callable[[ModelSource, LabelledCase, ExampleRecipe, Path], Made]
    leaves: Callable[[LabelledCase, Path], Leaves]

    def of_cases(
        self,
        base: ModelSource,
        cases: Sequence[LabelledCase],
        recipe: ExampleRecipe,
        folder: Path,
        stage: str = "simulated edits",
        workers: int | None = None,
        progress: Progress = no_progress,
    ) -> list[Made]:
        """What `of_case` returns of each case, in their order; `run_in_parallel` has the other arguments."""
        jobs = [partial(self.of_case, base, case, recipe, folder) for case in cases]
        names, leaves = [case.name for case in cases], [self.leaves(case, folder) for case in cases]
        memory = partial(memory_of_a_job, base, cases, recipe.settings)
        return run_in_parallel(jobs, stage, workers, names, leaves, progress, base.device, memory)
