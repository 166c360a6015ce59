"""One case of an evaluation: simulated edits, every row of the table, every measure (method 6 and 8)."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from context_propagation.cli.contour_interpolation import STEPS, interpolated_between, load_interpolator
from context_propagation.cli.evaluation_table import FUSION, NEEDED_NO_EDIT
from context_propagation.cli.fusion_jobs import BaseModel, LabelledCase
from context_propagation.cli.regression import far_voxels_changed, regressed_slices
from context_propagation.core.bundle import fusion_of
from context_propagation.core.composition import EditRecord, FarMargin, FarRule, compose
from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import MissingDependencyError
from context_propagation.core.fusion_controls import Sees, ShownTo
from context_propagation.core.fusion_network import Fusion, FusionNetwork, FusionSettings, build_fusion_network
from context_propagation.core.measures import SCOPES, measure_scopes
from context_propagation.core.optional_dependency import require
from context_propagation.core.session import Session, SessionSettings
from context_propagation.core.simulated_edit import largest_slice, redrawn_as, worst_slice
from context_propagation.core.split_model import SegmentationModel

Pick = Literal["worst", "largest"]
PICKS: tuple[Pick, ...] = ("worst", "largest")
FAR_RULES: tuple[FarRule, ...] = ("average", "latest")


@dataclass(frozen=True)
class FusionRow:
    """A row of the table that comes from a trained network.

    Attributes:
        name: Of the row.
        architecture: The network's.
        sees: What of the edit it is shown.
        weights: A safetensors file for each fold of the base model.
    """

    name: str
    architecture: FusionSettings
    sees: Sees
    weights: tuple[Path, ...]

    def networks(self) -> list[FusionNetwork]:
        """The trained networks."""
        read = require("safetensors.torch", extra="nnunet").load_file
        networks = []
        for path in self.weights:
            network = build_fusion_network(self.architecture)
            network.load_state_dict(read(path))
            networks.append(network.eval().requires_grad_(False))
        return networks

    def blindfolded(self, job: CaseJob, device: torch.device) -> Fusion:
        """The networks shown what the row may see; an oracle is told the case's hidden truth."""
        shown = [ShownTo(network, self.sees).to(device).eval() for network in self.networks()]
        for network in shown:
            network.tell(torch.tensor(job.case.told[: self.architecture.told]))
        return fusion_of(shown, job.settings.level, job.settings.neighbours, job.far_margin)


@dataclass(frozen=True)
class CaseJob:
    """All that decides the figures of one case at one decoder level.

    Attributes:
        fold: The test fold's name.
        base: The frozen model.
        case: Image and ground truth.
        settings: Of the session.
        rows: The rows from trained networks.
        far_margin: How sure each of them must be before a far voxel changes; chosen on validation cases.
        interpolation: Whether the contour interpolation is among the rows.
        edits: Edits one after the other; below 2 only single edits are measured.
    """

    fold: str
    base: BaseModel
    case: LabelledCase
    settings: SessionSettings
    rows: tuple[FusionRow, ...]
    far_margin: FarMargin = field(default_factory=FarMargin)
    interpolation: bool = True
    edits: int = 1


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


class CaseSession:
    """One case with its image encoded; edits are simulated on it without changing it."""

    def __init__(self, job: CaseJob) -> None:
        self.job = job
        self.model: SegmentationModel = job.base.load()
        self.volume, self.truth = job.case.read(self.model)
        self.axis = self.volume.axis_of_plane("axial")
        self.fusions = {row.name: row.blindfolded(job, self.model.device) for row in job.rows}
        self.session = Session(self.model, job.settings)
        self.session.set_image(self.volume)
        self.baseline = self.session.segmentation.copy()

    def edit(self, pick: Pick, segmentation: np.ndarray | None = None) -> SliceEdit | None:
        """The simulated edit of a segmentation, by default the baseline; None where it equals the ground truth."""
        current = self.baseline if segmentation is None else segmentation
        if np.array_equal(current, self.truth):
            return None
        if pick == "worst":
            index = worst_slice(current, self.truth, self.axis, self.volume.spacing_kji_mm)
        else:
            index = largest_slice(self.truth, self.axis)
        return redrawn_as(self.truth, self.axis, index)

    def propagated(self, edit: SliceEdit, fusion: Fusion | None = None) -> tuple[EditRecord, np.ndarray]:
        """What a user gets: the session's record of the edit and its segmentation. The edit is taken back."""
        self.session.settings, self.session.fusion = self.job.settings, fusion
        result = self.session.propagate([edit])
        (record,) = self.session.records
        self.session.discard_last()
        return record, result.segmentation

    def fused(self, record: EditRecord, fusion: Fusion) -> EditRecord:
        """The same edit with what another fusion network says of the far slices."""
        if record.satisfied or not record.features:
            return record
        propagation = self.session.propagation
        edit = propagation.network_edit(record.edits)
        return replace(record, far=propagation.far_margins(edit, record.features, fusion))

    def composed(self, record: EditRecord, far_margin: FarMargin) -> np.ndarray:
        """What a session writes for this one edit: only voxels whose label the edit changed (method 5)."""
        untouched = self.session.window_prediction
        after = compose(untouched, [record], far_margin, self.job.settings.far_rule)
        return _pasted(np.where(after != untouched, after, self.baseline), record.edits)


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


def _pasted(mask: np.ndarray, edits: Sequence[SliceEdit]) -> np.ndarray:
    """The drawn slices written into a mask, all else as it is."""
    result = mask.copy()
    for edit in edits:
        np.moveaxis(result, edit.axis, 0)[edit.index] = edit.mask
    return result
