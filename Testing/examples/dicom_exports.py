"""Segments that are exported as DICOM, and read back with pydicom and numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import add_segment_from_mask
from context_propagation.mrml.nodes.volume_nodes import volume_array

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
skimage_measure = pytest.importorskip("skimage.measure")
from dicom_files import GEOMETRIES, Roi, Series, write_ct_series, write_structure_set  # noqa: E402

SHAPE = (7, 18, 22)
ENDINGS = (".dcm", ".seg.dcm")


class Exporting:
    """A scene with a volume as Slicer loads it from a series that was written to disk, and a segmentation."""

    def __init__(self, make_case, folder: Path, geometry="axial", downwards=False, shape=SHAPE, **changes):
        self.folder = folder
        voxels = np.random.default_rng(4).integers(-900, 900, shape).astype(np.int16)
        self.series: Series = write_ct_series(folder / "ct", voxels, GEOMETRIES[geometry], **changes)
        corners = self.series.geometry.lps([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
        matrix = np.eye(4)
        matrix[:3, :3] = (corners[1:] - corners[0]).T
        matrix[:3, 3] = corners[0]
        if downwards:  # the same voxels, the last slice first
            voxels = voxels[::-1]
            matrix[:3, 3] += (shape[0] - 1) * matrix[:3, 2]
            matrix[:3, 2] *= -1
        self.downwards = downwards
        self.case = make_case(shape, ijk_to_lps=matrix)
        self.volume, self.segmentation = self.case.volume, self.case.segmentation
        volume_array(self.volume)[...] = voxels
        self.logic = ContextPropagationLogic(self.case.scene)

    def add(self, mask, name="GTV", color=(0.2, 0.4, 0.6)):
        """A segment; the mask is on the series' slices."""
        return add_segment_from_mask(self.segmentation, self.turned(mask), self.volume, name, color)

    def turned(self, mask):
        return mask[::-1] if self.downwards else mask

    def export(self, name, segment="GTV", folder=True, **options):
        self.logic.select([self.volume], self.segmentation, segment)
        return self.logic.export(self.folder / name, self.series.folder if folder else None, **options)

    def read(self, name, wanted="GTV"):
        return (seg_mask if name.endswith(".seg.dcm") else roi_mask)(self.folder / name, self.series, wanted)


def ball(center=(3, 8, 10), radii=(2.2, 5.3, 6.4), shape=SHAPE):
    distances = [((g - c) / r) ** 2 for g, c, r in zip(np.indices(shape), center, radii, strict=True)]
    return sum(distances) <= 1


def roi_mask(path, series: Series, name: str) -> np.ndarray:
    """An ROI on the series' slices: found by the slices that its contours refer to; nothing of ours is used."""
    dataset = pydicom.dcmread(path)
    (number,) = [int(roi.ROINumber) for roi in dataset.StructureSetROISequence if roi.ROIName == name]
    (item,) = [one for one in dataset.ROIContourSequence if one.ReferencedROINumber == number]
    uids = [header.SOPInstanceUID for header in series.slices]
    start, step_k, step_j, step_i = series.geometry.lps([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    to_kji = np.linalg.inv(np.column_stack([step_k - start, step_j - start, step_i - start]))
    mask = np.zeros(SHAPE, bool)
    for contour in item.get("ContourSequence", []):
        k = uids.index(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
        points_kji = (np.array(contour.ContourData, float).reshape(-1, 3) - start) @ to_kji.T
        assert np.abs(points_kji[:, 0] - k).max() < 1e-4, "a contour does not lie on the slice that it refers to"
        mask[k] ^= skimage_measure.grid_points_in_poly(SHAPE[1:], points_kji[:, 1:])
    return mask


def seg_mask(path, series: Series, name: str) -> np.ndarray:
    """A segment on the series' slices: found by the positions of its frames."""
    dataset = pydicom.dcmread(path)
    (number,) = [int(one.SegmentNumber) for one in dataset.SegmentSequence if one.SegmentLabel == name]
    origins = np.array([header.ImagePositionPatient for header in series.slices], float)
    frames = dataset.pixel_array.reshape(-1, *SHAPE[1:])
    mask = np.zeros(SHAPE, bool)
    for frame, about in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        of_segment = about if "SegmentIdentificationSequence" in about else dataset.SharedFunctionalGroupsSequence[0]
        if of_segment.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        apart = np.linalg.norm(origins - np.array(about.PlanePositionSequence[0].ImagePositionPatient, float), axis=1)
        k = int(apart.argmin())
        assert apart[k] < 1e-3
        source = about.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert source == series.slices[k].SOPInstanceUID
        mask[k] = frame
    return mask


SQUARE = [(4.0, 5.0), (4.0, 12.25), (9.5, 12.25), (9.5, 5.0)]


def came_in(exporting, *names):
    rois = [Roi(name, [(k, SQUARE) for k in (2, 3, 4)], (9, 8, 7)) for name in names]
    return write_structure_set(exporting.folder / "came in.dcm", exporting.series, rois)
