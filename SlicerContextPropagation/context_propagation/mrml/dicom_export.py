"""Segments as an RT Structure Set or a DICOM segmentation of the series that their volume was loaded from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled, UserInputError, counted
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.own_grid import OwnGrid, OwnMask
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.files.structures import Structure
from context_propagation.mrml.even_slices import acquired_volume
from context_propagation.mrml.nodes.dicom_database import files_of_volume
from context_propagation.mrml.nodes.segment_identity import codes_of, rgb_of, roi_number_of
from context_propagation.mrml.nodes.segments import grid_mapping, segment_labelmap, segment_name
from context_propagation.mrml.nodes.volume_nodes import volume_array
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS, volume_ijk_to_ras
from context_propagation.mrml.session.operation import Operation, Parts

if TYPE_CHECKING:
    from context_propagation.core.image.even_slices import EvenSlices
    from context_propagation.files.dicom_series import DicomSeries


@dataclass(frozen=True)
class DicomSource:
    """What an export refers to.

    Attributes:
        volume_node: The image that the segments were drawn on.
        folder: Of its DICOM series; None takes the files that Slicer's DICOM database knows.
        structure_set: The RT Structure Set that came in, whose other ROIs, names, colours and types are kept; or None.
    """

    volume_node: slicer.vtkMRMLScalarVolumeNode
    folder: Path | None = None
    structure_set: Path | None = None

    @classmethod
    def of(
        cls,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        folder: str | Path | None,
        structure_set: str | Path | None,
    ) -> DicomSource:
        """From paths as they are typed; an empty one is none."""
        return cls(volume_node, Path(folder) if folder else None, Path(structure_set) if structure_set else None)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        names: Of the segments in it.
        others: How many other ROIs of the given structure set were kept.
        losses: What the image's slices cannot show of segments that have a grid of their own, in words.
    """

    path: Path
    names: tuple[str, ...]
    others: int = 0
    losses: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """One line, or two where something was lost."""
        others = f", beside {counted(self.others, 'other ROI')}" if self.others else ""
        listed = ", ".join(f"'{name}'" for name in self.names)
        lost = f"\nNot in it: {'; '.join(self.losses)}." if self.losses else ""
        return f"{listed} written to '{self.path}'{others}.{lost}"


@dataclass(frozen=True, eq=False)
class _ReadSegment:
    """A segment as it was in the scene.

    Attributes:
        about: Its name and what it is; its voxels are those of its own labelmap.
        start_kji: Where that starts on the labelmap's grid.
        ijk_to_lps: float64 `[4, 4]`, from indices of that grid to where the series lies, LPS in mm.
    """

    about: Structure
    start_kji: tuple[int, int, int]
    ijk_to_lps: np.ndarray

    def on(self, image: SourceVolume) -> OwnMask:
        """The part on an image.

        Raises:
            UserInputError: It has no voxel there.
        """
        if self.about.voxels.is_empty:
            return OwnMask(OwnGrid.of_image(image.shape_kji), BoxedMask.of(np.zeros(image.shape_kji, bool)))
        matrix = np.linalg.inv(image.ijk_to_lps) @ self.ijk_to_lps
        grid = OwnGrid.on_lattice(matrix, image.shape_kji, image.spacing_kji_mm)
        own = OwnMask.placed(grid, self.about.voxels, self.start_kji)
        if own.mask.is_empty:
            raise UserInputError(
                f"Segment '{self.about.name}' covers no voxel of the DICOM series; choose the volume that it was drawn "
                "on, or leave this segment out"
            )
        return own


def export_operation(
    path: str | Path,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    source: DicomSource,
) -> Operation[Exported]:
    """Write segments as DICOM; the scene stays as it is.

    Contours and frames lie on the slices of the series, whatever grids and transforms volume and segments have: a
    volume under a transform is taken back to where its series lies, and the segments with it.

    Args:
        path: Ends in .dcm for an RT Structure Set, in .seg.dcm for a DICOM segmentation.
        segmentation_node: Holds the segments.
        segment_ids: At least one; one of them is not empty.
        source: The series.

    Raises:
        UserInputError: No series is known, or the volume is a copy with even slices and something else than a new
            structure set is asked for; when it runs, that all segments are empty, a segment cannot be read, the series
            is not the volume's, or the file must not or cannot be written.
        MissingDependencyError: The packages that write DICOM are not installed; found when it runs.
    """
    path, node = Path(path), source.volume_node
    files = _known_files(path, source)
    segments: list[_ReadSegment] = []
    is_copy = acquired_volume(node) is not None
    image = volume_array(node), RAS_TO_LPS @ volume_ijk_to_ras(node), node.GetName()

    def read() -> Parts:
        segments.clear()
        for segment_id in segment_ids:
            segments.append(_read(segmentation_node, segment_id, node))
            yield
        if all(segment.about.voxels.is_empty for segment in segments):
            names = ", ".join(f"'{segment.about.name}'" for segment in segments)
            raise UserInputError(f"Nothing is drawn in {names}; predict or draw first")

    def compute(progress: Progress, cancelled: CancelCheck) -> Exported:
        from context_propagation.files.dicom_outputs import check_dicom_output, write_structures
        from context_propagation.files.dicom_series import slice_files

        progress("read", 0.0)
        folder = source.folder or files[0].parent
        if not folder.is_dir():
            raise UserInputError(f"There is no folder '{folder}'; choose the folder of the DICOM series")
        slices = files or slice_files(folder)
        check_dicom_output(path, slices, source.structure_set)
        series = _Series.matching(*image, folder, slices, is_copy)
        if cancelled():
            raise Cancelled
        progress("write", 0.5)
        structures, losses = series.placed(segments)
        with whole_file(path) as partial:
            others = write_structures(partial, structures, series.image, series.slices, slices, source.structure_set)
            if cancelled():
                raise Cancelled
        return Exported(path, tuple(segment.about.name for segment in segments), others, losses)

    return Operation("Export", compute, lambda exported: exported, read=read)


def _known_files(path: Path, source: DicomSource) -> list[Path]:
    """The files of the series, as Slicer's DICOM database knows them; none where its folder is given.

    Raises:
        UserInputError: As `export_operation`, of the series and the copy with even slices.
    """
    from context_propagation.files.dicom_series import DICOM_SEG  # not above: with SimpleITK, a long import

    node, acquired = source.volume_node, acquired_volume(source.volume_node)
    files = [] if source.folder else files_of_volume(acquired or node)
    if acquired is not None and (source.structure_set is not None or path.name.lower().endswith(DICOM_SEG)):
        raise UserInputError(
            f"'{node.GetName()}' is a copy with even slices: only a new RT Structure Set can lie on the slices that "
            "were acquired; choose that format, and no structure set that came in"
        )
    if not files and source.folder is None:
        raise UserInputError(
            f"The DICOM files of volume '{node.GetName()}' are not known to Slicer's DICOM database; choose the folder "
            "of its series"
        )
    return files


@dataclass(frozen=True, eq=False)
class _Series:
    """The DICOM series of a volume.

    Attributes:
        image: On whose voxels segments are placed.
        slices: What is written refers to these.
        even: How the image was made of the acquired slices, where these lie unevenly; else None.
    """

    image: SourceVolume
    slices: DicomSeries
    even: EvenSlices | None = None

    @classmethod
    def matching(
        cls, voxels: np.ndarray, ijk_to_lps: np.ndarray, name: str, folder: Path, files: Sequence[Path], is_copy: bool
    ) -> _Series:
        """See `matching_series`, and for a copy with even slices `matching_acquired_series`."""
        from context_propagation.files.series_match import matching_acquired_series, matching_series

        of = matching_acquired_series if is_copy else matching_series
        return cls(*of(voxels, ijk_to_lps, name, folder, files))

    def placed(self, segments: Sequence[_ReadSegment]) -> tuple[list[Structure], tuple[str, ...]]:
        """The segments on the slices, and what these cannot show of them, in words.

        Raises:
            UserInputError: A segment has no voxel there.
        """
        from context_propagation.files.grid_losses import grid_losses

        structures, losses = [], []
        for segment in segments:
            own = segment.on(self.image)
            on_image = own.grid.to_image(own.mask)
            on_slices = on_image if self.even is None else BoxedMask.of(self.even.back(on_image.mask))
            structures.append(replace(segment.about, voxels=on_slices))
            losses += grid_losses(segment.about.name, own)
        return structures, tuple(losses)


def _read(
    segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> _ReadSegment:
    """A segment's voxels on their own grid, and where that lies beside the volume as it was loaded."""
    labelmap = segment_labelmap(segmentation_node, segment_id)
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    about = Structure(
        segment_name(segmentation_node, segment_id),
        labelmap.mask,
        rgb_of(segment),
        codes_of(segment),
        roi_number_of(segment),
    )
    to_volume = grid_mapping(segmentation_node, labelmap.ijk_to_ras, volume_node).volume_from_segment_ijk
    return _ReadSegment(about, labelmap.start_kji, RAS_TO_LPS @ volume_ijk_to_ras(volume_node) @ to_volume)
