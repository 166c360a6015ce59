"""What module, effect, console and scripts share that needs no session: even slices, training, measures, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.case_summary import summary_operation
from context_propagation.mrml.dicom_export import DicomSource, Exported, export_operation
from context_propagation.mrml.even_slices import (
    EvenCopies,
    acquired_slices_operation,
    even_slices_change,
    even_slices_operation,
)
from context_propagation.mrml.fusion_training import start_training
from context_propagation.mrml.measurements import Measurements, Reference, measurement_operation
from context_propagation.mrml.nodes.scenes import prepare_scene
from context_propagation.mrml.nodes.segments import boxed_segment
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.operation import Operation


class SessionFreeLogic:
    """Works on what is selected, whether or not its image is cached.

    Args:
        scene: Where the nodes are.

    Attributes:
        loaded: The model, if there is one.
        selection: What is worked on.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = prepare_scene(scene)
        self.loaded: LoadedModel | None = None
        self.selection: Selection | None = None

    # -- slices that lie unevenly ------------------------------------------------------------------------------------

    def even_slices_change(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode | None = None,
    ) -> str:
        """What `even_slices_operation` would make, in words for the user; refused as that is."""
        return even_slices_change(volume_node, segmentation_node)

    def even_slices_operation(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode | None = None,
    ) -> Operation[EvenCopies]:
        """Copies with even slices of a volume under Slicer's acquisition transform, and of a segmentation on it."""
        return even_slices_operation(self.scene, volume_node, segmentation_node)

    def acquired_slices_operation(
        self, segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode
    ) -> Operation[slicer.vtkMRMLSegmentationNode]:
        """Contours drawn on such a copy of a volume, back on the acquired slices, in a new segmentation."""
        return acquired_slices_operation(self.scene, segmentation_node, volume_node)

    # -- training ------------------------------------------------------------------------------------------------------

    train_fusion = staticmethod(start_training)
    """Train a model's fusion network in a process of its own; gives the `FusionTraining` that runs."""

    # -- results -----------------------------------------------------------------------------------------------------

    def segment_mask(self) -> np.ndarray:
        """The selected segment on the first volume's grid, bool `[K, J, I]`."""
        return self._boxed_segment().mask

    def measure(self, reference: Reference | None = None) -> Measurements:
        """`measure_operation`, run here."""
        return self.measure_operation(reference).run()

    def measure_operation(self, reference: Reference | None = None) -> Operation[Measurements]:
        """The segment's volume, and how it compares with a reference segment.

        Args:
            reference: A segmentation, and the ID or name of a segment in it or None for its only one.
        """
        selection = self._require_selection()
        return measurement_operation(
            selection.segmentation_node, selection.segment_id, selection.volume_nodes[0], reference
        )

    def summary(self, path: str | Path, title: str = "") -> Path:
        """`summary_operation`, run here."""
        return self.summary_operation(path, title).run()

    def summary_operation(self, path: str | Path, title: str = "") -> Operation[Path]:
        """Write one HTML page about the case: contours, edits, changes, measures, hashes and versions.

        What the scene holds of earlier edits is enough; it needs no session. Nothing but the title names a patient.

        Args:
            path: The page; its name ends in .html.
            title: What you call the case.

        Returns:
            An operation that gives the path.

        Raises:
            UserInputError: The scene holds nothing of this segment, or see `mrml.case_summary`.
        """
        live = self._current.live
        if live is not None:
            self.follow()
        selection, saved = self._require_selection(), self.saved_session()
        if saved is None:
            raise UserInputError("The scene holds no edits of this segment; predict first")
        by_hand = None if live is None else live.session.changed_by_hand
        return summary_operation(selection, saved, Path(path), title, self.loaded, by_hand)

    def save(self, path: str | Path) -> None:
        """Save the segmentation, all segments of it, to a `.seg.nrrd` file."""
        from context_propagation.mrml.nodes.segmentation_storage import (
            save_segmentation,  # with SimpleITK, a long import
        )

        save_segmentation(path, self._require_selection().segmentation_node)

    def export(
        self,
        path: str | Path,
        series_folder: str | Path | None = None,
        structure_set: str | Path | None = None,
        all_segments: bool = False,
    ) -> Exported:
        """`export_operation`, run here."""
        return self.export_operation(path, series_folder, structure_set, all_segments).run()

    def export_operation(
        self,
        path: str | Path,
        series_folder: str | Path | None = None,
        structure_set: str | Path | None = None,
        all_segments: bool = False,
    ) -> Operation[Exported]:
        """Write the segment as DICOM that belongs to the first volume's series; see `dicom_export`.

        Args:
            path: Ends in `.dcm` for an RT Structure Set, in `.seg.dcm` for a DICOM segmentation.
            series_folder: Of that series; without it, the files that Slicer's DICOM database knows.
            structure_set: An RT Structure Set whose other ROIs, names, colours and types are kept.
            all_segments: All segments of the segmentation, not the selected one alone.

        Raises:
            UserInputError: As `dicom_export.export_operation`.
        """
        selection = self._require_selection()
        segmentation, volume = selection.segmentation_node, selection.volume_nodes[0]
        ids = list(segmentation.GetSegmentation().GetSegmentIDs()) if all_segments else [selection.segment_id]
        return export_operation(path, segmentation, ids, DicomSource.of(volume, series_folder, structure_set))

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _boxed_segment(self) -> BoxedMask:
        selection = self._require_selection()
        return boxed_segment(selection.segmentation_node, selection.segment_id, selection.volume_nodes[0])

    def _require_loaded(self) -> LoadedModel:
        if self.loaded is None:
            raise UserInputError("No model is loaded; choose a model first")
        return self.loaded

    def _require_selection(self) -> Selection:
        if self.selection is None:
            raise UserInputError("No volume and segment are selected; select them first")
        self.selection.require_nodes()
        return self.selection
