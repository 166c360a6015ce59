"""One case of an evaluation: simulated edits, every row of the table, every measure."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from context_propagation.core.errors import MissingDependencyError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.measures.accuracy import SCOPES, measure_scopes
from context_propagation.core.measures.regression import far_voxels_changed, regressed_slices
from context_propagation.core.session.session import Session
from context_propagation.evaluation.contour_interpolation import STEPS, interpolated_between, load_interpolator
from context_propagation.evaluation.rows import FUSION, NEEDED_NO_EDIT
from context_propagation.evaluation.simulated_case import FAR_RULES, PICKS, CaseJob, CaseSession, Pick, _pasted


def evaluate_case(job: CaseJob) -> list[dict[str, Any]]:
    """Lines of the table of `evaluation_table`; a failure becomes a line that says why, so that no case is lost.

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


def _line_without_measures(job: CaseJob, pick: Pick, row: str, reason: str) -> dict[str, Any]:
    place = {"fold": job.fold, "case": job.case.name, "pick": pick, "level": job.settings.level, "edits": 1}
    return {**place, "row": row, "scope": "whole", "error": reason}


class _CaseEvaluation(CaseSession):
    """The lines of one case."""

    def lines(self) -> Iterator[dict[str, Any]]:
        for pick in PICKS:
            edit = self.edit(pick)
            if edit is None:
                yield _line_without_measures(self.job, pick, "baseline", NEEDED_NO_EDIT)
                continue
            for row, (mask, seconds) in self.rows_of(edit).items():
                yield from self.measured(pick, [edit], row, mask, seconds)
        if self.job.edits > 1 and self.edit("worst") is not None:
            yield from self.several_edits()

    def rows_of(self, edit: SliceEdit) -> dict[str, tuple[np.ndarray, float]]:
        """Each row's mask, and the seconds that the edit took."""
        rows = {"baseline": (self.baseline, 0.0), "paste": (_pasted(self.baseline, [edit]), 0.0)}
        start = time.perf_counter()
        record, updated = self.propagated(edit)
        seconds = time.perf_counter() - start
        rows["update"] = (updated, seconds)
        for name, fusion in self.fusions.items():
            start = time.perf_counter()
            mask = self.composed(self.fused(record, fusion), self.job.far_margin)
            rows[name] = (mask, seconds + time.perf_counter() - start)
        if self.job.interpolation:
            load_interpolator()
        for step in STEPS if self.job.interpolation else ():
            start = time.perf_counter()
            mask = interpolated_between(self.baseline, edit, step)
            rows[f"contour interpolation ±{step}"] = (mask, time.perf_counter() - start)
        return rows

    def several_edits(self) -> Iterator[dict[str, Any]]:
        """Edit after edit, each on the slice that is then the worst, in the session as a user has it (Fig. 8)."""
        settings, fusion = self.job.settings, self.fusions.get("fusion")
        alone = replace(settings, several_edits="one at a time")
        ways = {"update": (settings, None)}
        if fusion is not None:
            ways |= {"fusion": (settings, fusion)}
            ways |= {f"fusion, one at a time, {rule}": (replace(alone, far_rule=rule), fusion) for rule in FAR_RULES}
        yield from self.edited_again_and_again("paste", None)
        for row, way in ways.items():
            self.session.settings, self.session.fusion = way
            yield from self.edited_again_and_again(row, self.session)
            while self.session.undo():
                pass

    def edited_again_and_again(self, row: str, session: Session | None) -> Iterator[dict[str, Any]]:
        """Without a session the slices are only pasted; a case that needs no further edit stays as it is."""
        edits: list[SliceEdit] = []
        mask, seconds = self.baseline, 0.0
        for number in range(self.job.edits):
            edit = self.edit("worst", mask)
            if edit is not None:
                edits.append(edit)
                start = time.perf_counter()
                mask = _pasted(mask, [edit]) if session is None else session.propagate([edit]).segmentation
                seconds = time.perf_counter() - start
            if number > 0:
                for line in self.measured("worst", edits, row, mask, seconds):
                    yield {**line, "edits": number + 1}

    def measured(
        self, pick: Pick, edits: Sequence[SliceEdit], row: str, mask: np.ndarray, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """A line for each scope."""
        job, indices = self.job, [edit.index for edit in edits]
        neighbours = job.settings.neighbours
        spacing = self.volume.spacing_kji_mm
        scopes = measure_scopes(mask, self.truth, spacing, self.axis, indices, neighbours)
        untouched = [s for s in range(mask.shape[self.axis]) if s not in indices]
        regression = regressed_slices(self.baseline, mask, self.truth, self.axis, untouched)
        changes = far_voxels_changed(self.baseline, mask, self.axis, indices, neighbours)
        exact = row == "baseline" or all(np.array_equal(mask.take(e.index, e.axis), e.mask) for e in edits)
        common: Mapping[str, Any] = {
            "fold": job.fold,
            "case": job.case.name,
            "pick": pick,
            "level": job.settings.level,
            "edits": len(edits),
            "row": row,
            "slice": indices[-1],
            "regressed_slices": regression.regressed,
            "untouched_slices": regression.untouched,
            "far_voxels_changed": changes.changed,
            "far_voxels": changes.voxels,
            "drawn_exact": exact,
            "seconds": seconds,
            "error": "",
        }
        for scope in SCOPES:
            yield {**common, "scope": scope, **asdict(getattr(scopes, scope))}
