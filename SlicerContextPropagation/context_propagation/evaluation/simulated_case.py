"""One test case with a simulated edit: which slice is redrawn, and the session that propagates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from context_propagation.core.bundle.bundle import fusion_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.composition import EditRecord, FarRule, compose
from context_propagation.core.propagation.fusion_network import (
    FarMargin,
    Fusion,
    FusionNetwork,
    FusionSettings,
    build_fusion_network,
)
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.fusion.fusion_controls import BlindfoldedFusion, InputsShown
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from context_propagation.training.labelled_cases import LabelledCase, ModelSource

Pick = Literal["worst", "largest"]


PICKS: tuple[Pick, ...] = ("worst", "largest")


FAR_RULES: tuple[FarRule, ...] = ("average", "latest")


@dataclass(frozen=True)
class FusionRow:
    """A row of the table that comes from a trained network.

    Attributes:
        name: Of the row.
        architecture: The network's.
        inputs_shown: What of the edit it is shown.
        weights: A safetensors file for each fold of the base model.
    """

    name: str
    architecture: FusionSettings
    inputs_shown: InputsShown
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
        shown = [BlindfoldedFusion(network, self.inputs_shown).to(device).eval() for network in self.networks()]
        for network in shown:
            network.set_hidden_truth(torch.tensor(job.case.hidden_truth[: self.architecture.hidden_truth]))
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
    base: ModelSource
    case: LabelledCase
    settings: SessionSettings
    rows: tuple[FusionRow, ...]
    far_margin: FarMargin = field(default_factory=FarMargin)
    interpolation: bool = True
    edits: int = 1


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
        """What a session writes for this one edit: only voxels whose label the edit changed."""
        untouched = self.session.window_prediction
        after = compose(untouched, [record], far_margin, self.job.settings.far_rule)
        return _pasted(np.where(after != untouched, after, self.baseline), record.edits)


def _pasted(mask: np.ndarray, edits: Sequence[SliceEdit]) -> np.ndarray:
    """The drawn slices written into a mask, all else as it is."""
    result = mask.copy()
    for edit in edits:
        np.moveaxis(result, edit.axis, 0)[edit.index] = edit.mask
    return result
