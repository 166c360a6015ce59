"""Small RT Structure Sets of a CT, written and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.dicom_series import series_for
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_reading import read_roi
from context_propagation.files.rtstruct_writing import (
    PROPAGATED,
    SEMIAUTOMATIC,
    write_new_structure_set,
)
from context_propagation.files.structures import Structure

pydicom = pytest.importorskip("pydicom")
from dicom_files import Roi, Series, write_structure_set  # noqa: E402

SHAPE = (6, 20, 26)

SQUARE = [(4.5, 5.5), (4.5, 12.5), (10.5, 12.5), (10.5, 5.5)]
"""Encloses the voxels j 5 to 10, i 6 to 12."""


INNER = [(6.5, 7.5), (6.5, 10.5), (8.5, 10.5), (8.5, 7.5)]
"""A hole in it."""


FEW_GEOMETRIES = ("thick slices from the top", "sagittal", "oblique")
"""Slices counted the other way, other axes, and none of the patient's axes."""


def square() -> np.ndarray:
    mask = np.zeros(SHAPE[1:], bool)
    mask[5:11, 6:13] = True
    return mask


def volume_of(series: Series) -> SourceVolume:
    return read_source_volume([series.folder])


def read(path: Path, series: Series, name: str = "GTV") -> np.ndarray:
    return read_roi(path, name, volume_of(series), [series.folder]).mask


def structure_set(series: Series, *rois: Roi, **options) -> Path:
    return write_structure_set(series.folder.parent / "rs.dcm", series, rois, **options)


def blobs(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Random blobs with holes, some cut by the border, and single voxels."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), (0.7, 1.5, 1.5))
    return (field > 0.4 * field.std()) | (rng.random(shape) < 0.02)


def written_anew(mask: np.ndarray, series: Series, name: str = "GTV") -> Path:
    path = series.folder.parent / "new.dcm"
    write_alone(path, mask, name, volume_of(series), series.folder)
    return path


def write_alone(path: Path, mask: np.ndarray, name: str, volume: SourceVolume, folder: Path) -> None:
    """As the only ROI."""
    series = series_for(path, [folder], volume)
    write_new_structure_set(path, [Structure.of(name, mask)], volume, series, SEMIAUTOMATIC, PROPAGATED)


def plain(path: Path) -> pydicom.Dataset:
    """As pydicom has it."""
    return pydicom.dcmread(path)


def contour_bytes(contour: pydicom.Dataset) -> str:
    return "\\".join(str(value) for value in contour.ContourData)
