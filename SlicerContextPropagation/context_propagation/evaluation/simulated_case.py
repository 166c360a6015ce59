"""One test case with a simulated edit: which slice is redrawn, and the session that propagates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from context_propagation.core.bundle.bundle import fusion_of, tuned_general_of
from context_propagation.core.bundle.general_file import load_general_far
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.edit_record import FarRule
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.general_far import TrainedFar, TunedGeneral
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.core.propagation.trained_fusion import Fusion, build_fusion_network
from context_propagation.core.session.preview import Preview
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.session.slice_suggestion import suggested_slice
from context_propagation.evaluation.rows import Pick
from context_propagation.training.fusion.fusion_controls import BlindfoldedFusion, InputsShown
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from context_propagation.training.general.general_controls import blind
from context_propagation.training.general.general_training import Shown
from context_propagation.training.labelled_cases import LabelledCase, ModelSource

FAR_RULES: tuple[FarRule, ...] = ("average", "latest")


@dataclass(frozen=True)
class FusionRow:
    """A row of the table that comes from a trained network.

    Attributes:
        name: Of the row.
        architecture: The network's.
        inputs_shown: What of the edit it is shown.
        weights: A safetensors file for each fold of the base model.
        far_thresholds: How sure it must be before a far voxel changes; chosen on validation cases.
    """

    name: str
    architecture: FusionSettings
    inputs_shown: InputsShown
    weights: tuple[Path, ...]
    far_thresholds: FarThresholds = field(default_factory=FarThresholds)

    def networks(self) -> list[FusionNetwork]:
        """The trained networks, read once in a process."""
        return [_network(self.architecture, path) for path in self.weights]

    def blindfolded(self, job: CaseJob, device: torch.device) -> Fusion:
        """The networks shown what the row may see; an oracle is told the case's hidden truth."""
        shown = [BlindfoldedFusion(network, self.inputs_shown).to(device).eval() for network in self.networks()]
        for network in shown:
            network.set_hidden_truth(torch.tensor(job.case.hidden_truth[: self.architecture.hidden_truth]))
        return fusion_of(shown, job.settings.level, job.settings.neighbours, self.far_thresholds)


@dataclass(frozen=True)
class TunedRow:
    """A row that comes from the general far network, trained further on the model's cases.

    Attributes:
        name: Of the row.
        shown: What of the edit it is shown.
        weights: A safetensors file.
        far_thresholds: See `FusionRow`.
    """

    name: str
    shown: Shown
    weights: Path
    far_thresholds: FarThresholds = field(default_factory=FarThresholds)

    def network(self) -> GeneralFarNetwork:
        """The trained network, read once in a process."""
        return _general(self.weights)

    def blindfolded(self, job: CaseJob, device: torch.device) -> TunedGeneral:
        """The network shown what the row may see."""
        settings = job.settings
        tuned = tuned_general_of(self.network().to(device), settings.level, settings.neighbours, self.far_thresholds)
        return tuned if self.shown == "edit" else blind(tuned)


@lru_cache(maxsize=32)
def _general(path: Path) -> GeneralFarNetwork:
    network = GeneralFarNetwork(load_general_far().network.width)
    network.load_state_dict(require("safetensors.torch", extra="nnunet").load_file(path))
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=32)
def _network(architecture: FusionSettings, path: Path) -> FusionNetwork:
    network = build_fusion_network(architecture)
    network.load_state_dict(require("safetensors.torch", extra="nnunet").load_file(path))
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class CaseJob:
    """All that decides the figures of one case at one decoder level.

    Attributes:
        fold: The test fold's name.
        base: The frozen model.
        case: Image and ground truth.
        settings: Of the session.
        rows: The rows from trained networks.
        interpolation: Whether the contour interpolation is among the rows.
        edits: Edits one after the other; below 2 only single edits are measured.
    """

    fold: str
    base: ModelSource
    case: LabelledCase
    settings: SessionSettings
    rows: tuple[FusionRow | TunedRow, ...]
    interpolation: bool = True
    edits: int = 1


class CaseSession:
    """One case with its image encoded; edits are simulated on it without changing it."""

    def __init__(self, job: CaseJob) -> None:
        self.job = job
        self.model: SegmentationModel = job.base.load()
        self.volume, self.truth = job.case.read(self.model)
        self.axis = self.volume.axis_of_plane("axial")
        self.fusions: dict[str, TrainedFar] = {row.name: row.blindfolded(job, self.model.device) for row in job.rows}
        self.session = Session(self.model, job.settings)
        self.session.set_image(self.volume)
        self.baseline = self.session.segmentation.copy()

    def edit(self, pick: Pick) -> SliceEdit | None:
        """The simulated edit of the baseline; None where it equals the ground truth."""
        return self.next_edit(pick, self.baseline, ())

    def next_edit(
        self, pick: Pick, segmentation: np.ndarray, edits: Sequence[SliceEdit], session: Session | None = None
    ) -> SliceEdit | None:
        """The simulated edit of a segmentation that has had some; None where it needs none or none can be found.

        Args:
            pick: How the slice is chosen.
            segmentation: bool `[K, J, I]`.
            edits: Those that it has had: none of their slices is drawn again.
            session: That made it, for the slice that it suggests; by default the untouched one.
        """
        if np.array_equal(segmentation, self.truth):
            return None
        index: int | None
        if pick == "worst":
            index = worst_slice(segmentation, self.truth, self.axis, self.volume.spacing_kji_mm)
        elif pick == "largest":
            index = largest_slice(self.truth, self.axis, [edit.index for edit in edits])
        else:
            index = suggested_slice((session or self.session).slice_uncertainty_mm2(self.axis))
        return None if index is None else redrawn_as(self.truth, self.axis, index)

    def preview(self, edit: SliceEdit) -> Preview:
        """What the edit gives without a fusion network; `Preview.fused_by` gives the rest of the rows."""
        return self.session.preview([edit])


def pasted(mask: np.ndarray, edits: Sequence[SliceEdit]) -> np.ndarray:
    """The drawn slices written into a mask, all else as it is."""
    result = mask.copy()
    for edit in edits:
        result[edit.place] = edit.mask
    return result
