"""Whether a DICOM series is the one that a volume was loaded from: by its voxels, at their places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import EvenSlices
from context_propagation.core.image.nearest_pull import mapped_points
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.dicom_images import read_dicom_files, read_files_made_even
from context_propagation.files.dicom_series import DicomSeries, acquired_series_of_files, series_of_files

LOOKED_AT = 48
"""Voxels along each axis that are compared, evenly spread."""


OFF_VOXELS = 0.1
"""How far a voxel may lie from the series' one, which headers may round."""


SAME = 0.9999
"""The least correlation of their values: one factor for all (SUV) leaves it at 1, another phase or patient does not."""


def matching_series(
    voxels: np.ndarray, ijk_to_lps: np.ndarray, name: str, folder: Path, files: Sequence[Path]
) -> tuple[SourceVolume, DicomSeries]:
    """Read a series, and make sure that it is the one of a volume.

    Args:
        voxels: `[K, J, I]` of the volume.
        ijk_to_lps: float64 `[4, 4]`, where the volume says that its voxels lie, without what it was moved by since.
        name: The volume's, for messages.
        folder: Where the series lies.
        files: Of the series; the folder may hold others beside them.

    Raises:
        UserInputError: The files cannot be read as one image, or as `require_same_image`.
    """
    image = SourceVolume.from_sitk([read_dicom_files(folder, [str(file) for file in files])])
    require_same_image(voxels, np.linalg.inv(image.ijk_to_lps) @ ijk_to_lps, image, name, folder)
    return image, series_of_files(folder, files, image)


def matching_acquired_series(
    voxels: np.ndarray, ijk_to_lps: np.ndarray, name: str, folder: Path, files: Sequence[Path]
) -> tuple[SourceVolume, DicomSeries, EvenSlices]:
    """As `matching_series` for a copy with even slices; the series' slices, and how the copy was made of them."""
    made, even = read_files_made_even(folder, [str(file) for file in files])
    image = SourceVolume.from_sitk([made])
    require_same_image(voxels, np.linalg.inv(image.ijk_to_lps) @ ijk_to_lps, image, name, folder)
    return image, acquired_series_of_files(folder, files, image, even), even


def require_same_image(
    voxels: np.ndarray, series_from_volume_ijk: np.ndarray, series: SourceVolume, name: str, folder: Path
) -> None:
    """Refuse to tie contours of a volume to a series that shows something else, or shows it elsewhere.

    The volume may be a part of the series, or have its slices in the other order.

    Args:
        voxels: `[K, J, I]` of the volume.
        series_from_volume_ijk: float64 `[4, 4]`, from its voxel indices (i, j, k) to those of the series.
        series: As it was read from its files.
        name: The volume's, for the message.
        folder: Where the series lies, for the message.

    Raises:
        UserInputError: Saying what differs.
    """
    along = [np.unique(np.linspace(0, n - 1, min(n, LOOKED_AT)).round().astype(int)) for n in voxels.shape]
    points = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)
    places = mapped_points(points, series_from_volume_ijk)
    index = np.rint(places).astype(int)
    remedy = "choose the volume as it was loaded from DICOM, or the folder of the series that it was loaded from"
    if np.abs(places - index).max() > OFF_VOXELS or (index < 0).any() or (index >= series.shape_kji).any():
        raise UserInputError(
            f"The voxels of volume '{name}' do not lie on those of the DICOM series in '{folder}' (another series, or "
            f"the volume was moved or resampled); {remedy}"
        )
    ours, theirs = (
        array[tuple(where.T)].astype(np.float64) for array, where in ((voxels, points), (series.channels[0], index))
    )
    alike = _correlation(ours, theirs)
    if alike < SAME:
        raise UserInputError(
            f"Volume '{name}' shows something else than the DICOM series in '{folder}' (correlation {alike:.4f}); "
            f"{remedy}"
        )


def _correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """From -1 to 1; 1 where both are the same, also where all values are one."""
    if np.allclose(ours, theirs):
        return 1.0
    a, b = ours - ours.mean(), theirs - theirs.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0
