"""One case of an evaluation: simulated edits, every row of the table, every measure."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from context_propagation.core.errors import MissingDependencyError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.measures.accuracy import SCOPES, measure_scopes
from context_propagation.core.measures.appearance import new_islands, seam_mm2
from context_propagation.core.measures.regression import far_voxels_changed, regressed_slices
from context_propagation.core.propagation.general_far import FarNetworks
from context_propagation.core.session.preview import Preview
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.calibration import calibrated
from context_propagation.evaluation.contour_interpolation import (
    STEPS,
    interpolated_between,
    interpolated_through,
    prepare_interpolation,
)
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import (
    ALL_PICKS,
    CALIBRATION,
    DRAWN_INTERPOLATION,
    FUSION,
    GENERAL_PAIR,
    NEEDED_NO_EDIT,
    PAPER_PAIR,
    PICKS,
    Pick,
)
from context_propagation.evaluation.simulated_case import FAR_RULES, CaseJob, CaseSession, pasted
from context_propagation.training.general.general_controls import shipped_pair


@dataclass(frozen=True)
class EditedMask:
    """What a row of the table makes of an edit.

    Attributes:
        mask: bool `[K, J, I]`.
        seconds: That it took.
    """

    mask: np.ndarray
    seconds: float


def evaluate_case(job: CaseJob) -> list[CaseRow]:
    """The case's lines of the table; a failure becomes a line that says why, so that no case is lost.

    Raises:
        MissingDependencyError: No case could be evaluated.
    """
    try:
        return list(_CaseEvaluation(job).lines())
    except MissingDependencyError:
        raise
    except Exception as error:
        reason = "".join(traceback.format_exception_only(error)).strip()
        return [_line_without_measures(job, pick, FUSION, reason) for pick in PICKS]


def _line_without_measures(job: CaseJob, pick: Pick, row: str, reason: str) -> CaseRow:
    return CaseRow(job.fold, job.case.name, pick, job.settings.level, 1, row, "whole", error=reason)


def _timed(make: Callable[..., np.ndarray], *arguments: Any) -> EditedMask:
    start = time.perf_counter()
    mask = make(*arguments)
    return EditedMask(mask, time.perf_counter() - start)


class _CaseEvaluation(CaseSession):
    """The lines of one case."""

    def lines(self) -> Iterator[CaseRow]:
        for pick in PICKS:
            edit = self.edit(pick)
            if edit is None:
                yield _line_without_measures(self.job, pick, "baseline", NEEDED_NO_EDIT)
                continue
            for row, edited in self.rows_of(edit).items():
                yield from self.measured(pick, [edit], row, edited)
        if self.job.edits > 1 and self.edit("worst") is not None:
            yield from self.several_edits()

    def rows_of(self, edit: SliceEdit) -> dict[str, EditedMask]:
        """What each row makes of an edit."""
        rows = {"baseline": EditedMask(self.baseline, 0.0), "paste": EditedMask(pasted(self.baseline, [edit]), 0.0)}
        start = time.perf_counter()
        preview = self.preview(edit)
        rows["update"] = EditedMask(preview.segmentation, seconds := time.perf_counter() - start)
        for name, fusion in self.fusions.items():
            composed = replace(preview, tidy=False) if name in PAPER_PAIR else preview
            fused = _timed(_fused, composed, fusion)
            rows[name] = replace(fused, seconds=seconds + fused.seconds)
        for name, general in zip(GENERAL_PAIR, shipped_pair(), strict=True):
            fused = _timed(_fused, preview, general)
            rows[name] = replace(fused, seconds=seconds + fused.seconds)
        moved = _timed(calibrated, preview)
        rows[CALIBRATION] = replace(moved, seconds=seconds + moved.seconds)
        if self.job.interpolation:
            prepare_interpolation()
        for step in STEPS if self.job.interpolation else ():
            rows[f"contour interpolation ±{step}"] = _timed(interpolated_between, self.baseline, edit, step)
        return rows

    def several_edits(self) -> Iterator[CaseRow]:
        """Edit after edit in a session as a user has it (Fig. 8), and what else the same slices would give."""
        session = self.session
        for pick in ALL_PICKS:
            drawn: dict[str, list[SliceEdit]] = {}
            for row, way in self.ways(pick).items():
                session = session.restarted(*way)
                drawn[row] = yield from self.edited_again_and_again(pick, row, session)
            same = drawn.get(FUSION, drawn["update"])
            yield from self.drawn_alone(pick, "paste", same, partial(pasted, self.baseline))
            if self.job.interpolation:
                yield from self.drawn_alone(
                    pick, DRAWN_INTERPOLATION, same, partial(interpolated_through, self.baseline)
                )

    def ways(self, pick: Pick) -> dict[str, tuple[SessionSettings, FarNetworks | None]]:
        """The rows of several edits: settings and network of their sessions."""
        settings, fusion = self.job.settings, self.fusions.get(FUSION)
        ways: dict[str, tuple[SessionSettings, FarNetworks | None]] = {"update": (settings, None)}
        if fusion is not None:
            ways[FUSION] = (settings, fusion)
            alone = replace(settings, several_edits="one at a time")
            for rule in FAR_RULES if pick == "worst" else ():
                ways[f"fusion, one at a time, {rule}"] = (replace(alone, far_rule=rule), fusion)
        return ways

    def edited_again_and_again(
        self, pick: Pick, row: str, session: Session
    ) -> Generator[CaseRow, None, list[SliceEdit]]:
        """A case that needs no further edit stays as it is.

        Returns:
            The edits that were made.
        """
        edits: list[SliceEdit] = []
        edited = EditedMask(self.baseline, 0.0)
        for number in range(1, self.job.edits + 1):
            edit = self.next_edit(pick, edited.mask, edits, session)
            if edit is not None:
                edits.append(edit)
                edited = _timed(_propagated, session, edit)
            if edits and not self.is_in_the_table_of_one_edit(pick, row, number):
                yield from self.after_edits(pick, edits, row, edited, number)
        return edits

    def drawn_alone(
        self, pick: Pick, row: str, edits: Sequence[SliceEdit], make: Callable[[Sequence[SliceEdit]], np.ndarray]
    ) -> Iterator[CaseRow]:
        """A row that knows the drawn slices and nothing of the network."""
        for number in range(1, self.job.edits + 1) if edits else ():
            if not self.is_in_the_table_of_one_edit(pick, row, number):
                yield from self.after_edits(pick, edits[:number], row, _timed(make, edits[:number]), number)

    def is_in_the_table_of_one_edit(self, pick: Pick, row: str, number: int) -> bool:
        """Such lines are there already; between one drawn slice and nothing there is nothing to interpolate."""
        return number == 1 and (pick in PICKS or row == DRAWN_INTERPOLATION)

    def after_edits(
        self, pick: Pick, edits: Sequence[SliceEdit], row: str, edited: EditedMask, number: int
    ) -> Iterator[CaseRow]:
        """The lines of so many edits, of which fewer may have been needed."""
        for line in self.measured(pick, edits, row, edited):
            yield replace(line, edits=number)

    def measured(self, pick: Pick, edits: Sequence[SliceEdit], row: str, edited: EditedMask) -> Iterator[CaseRow]:
        """A line for each scope."""
        job, mask, indices = self.job, edited.mask, [edit.index for edit in edits]
        neighbours = job.settings.neighbours
        scopes = measure_scopes(mask, self.truth, self.volume.spacing_kji_mm, self.axis, indices, neighbours)
        untouched = [s for s in range(mask.shape[self.axis]) if s not in indices]
        regression = regressed_slices(self.baseline, mask, self.truth, self.axis, untouched)
        changes = far_voxels_changed(self.baseline, mask, self.axis, indices, neighbours)
        before = self.baseline if row == "baseline" else pasted(self.baseline, edits)
        islands = new_islands(before, mask, self.axis, indices)
        seam = seam_mm2(mask, self.truth, self.axis, indices[-1], neighbours, self.volume.spacing_kji_mm)
        exact = row == "baseline" or all(np.array_equal(mask.take(e.index, e.axis), e.mask) for e in edits)
        for scope in SCOPES:
            yield CaseRow(
                fold=job.fold,
                case=job.case.name,
                pick=pick,
                level=job.settings.level,
                edits=len(edits),
                row=row,
                scope=scope,
                slice=indices[-1],
                **asdict(getattr(scopes, scope)),
                regressed_slices=regression.regressed,
                untouched_slices=regression.untouched,
                far_voxels_changed=changes.changed,
                far_voxels=changes.voxels,
                new_islands=islands,
                seam_mm2=seam,
                drawn_exact=exact,
                seconds=edited.seconds,
            )


def _fused(preview: Preview, fusion: FarNetworks) -> np.ndarray:
    return preview.fused_by(fusion).segmentation


def _propagated(session: Session, edit: SliceEdit) -> np.ndarray:
    return session.propagate([edit]).segmentation
