"""Reading images: NIfTI, NRRD, MHA and DICOM folders; several files are the channels of one image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume, parting_voxels, same_grid
from context_propagation.core.optional_dependency import require
from context_propagation.files.native_messages import native_messages_hidden

SLICE_TOLERANCE_MM = 0.02
"""By how much the step from one DICOM slice to the next may vary, or leave the slice normal."""


FORMATS = "NIfTI, NRRD, MHA or a DICOM folder"


def read_source_volume(paths: Sequence[Path]) -> SourceVolume:
    """Read the channels of one image.

    Args:
        paths: One file or DICOM folder per channel, in the channel order of the model.

    Raises:
        UserInputError: A path is missing, empty or unreadable; an image is not a 3D scalar volume of finite voxels;
            the channels lie on different grids.
    """
    images = [read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if not same_grid(image, images[0]):
            raise UserInputError(
                f"Image '{path}' ({_grid(image)}) is not on the grid of '{paths[0]}' ({_grid(images[0])})"
                f"{_apart(image, images[0])}; resample it onto that grid first"
            )
    return SourceVolume.from_sitk(images)


def read_image(path: Path) -> sitk.Image:
    """Read one channel as float32.

    Raises:
        UserInputError: The path is missing, empty or unreadable, or is not a 3D scalar volume of finite voxels.
    """
    check_exists(path, "Image")
    with native_messages_hidden():
        image = _read_dicom_folder(path) if path.is_dir() else _read_file(path)
    _check_finite(path, sitk.GetArrayViewFromImage(image))
    return image


def check_exists(path: Path, what: str) -> None:
    """Refuse a path that is missing, or a file without content.

    Raises:
        UserInputError: Naming the path; `what` starts the message.
    """
    if not path.exists():
        raise UserInputError(f"{what} '{path}' does not exist; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise UserInputError(f"{what} '{path}' is an empty file; export it again")


def nifti_voxels(path: Path) -> np.ndarray | None:
    """The stored voxels of a NIfTI file, None for other files.

    ITK reads a truncated NIfTI file as far as it goes, and NaN as 0, and says nothing: so this is read too.

    Raises:
        UserInputError: The file is truncated or damaged.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    nibabel = require("nibabel", extra="cli")
    try:
        return np.asarray(nibabel.load(path).dataobj.get_unscaled())
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UserInputError(f"'{path}' cannot be read; it is truncated or damaged: copy or export it again") from error


def _check_finite(path: Path, voxels: np.ndarray) -> None:
    if not np.issubdtype(voxels.dtype, np.floating):
        return
    broken = voxels.size - int(np.isfinite(voxels).sum())
    if broken:
        raise UserInputError(f"Image '{path}' has {broken} NaN or infinite voxels; replace them before segmenting")


def _apart(image: sitk.Image, other: sitk.Image) -> str:
    """By how much the farthest voxel of two images of one size lies elsewhere: printed grids may look alike."""
    if image.GetSize() != other.GetSize():
        return ""
    return f": the farthest voxel lies {parting_voxels(image, other):.2g} voxels away"


def _grid(image: sitk.Image) -> str:
    """Size, spacing and origin, short enough for one line."""
    size = " x ".join(str(n) for n in image.GetSize())
    spacing = " x ".join(f"{s:.4g}" for s in image.GetSpacing())
    origin = ", ".join(f"{o:.4g}" for o in image.GetOrigin())
    return f"{size} voxels, {spacing} mm, origin {origin}"


def _read_file(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_is_volume(path, reader.GetDimension(), reader.GetNumberOfComponents(), reader.GetSize())
        stored = nifti_voxels(path)
        if stored is not None:
            _check_finite(path, stored)
        reader.SetOutputPixelType(sitk.sitkFloat32)
        return reader.Execute()
    except RuntimeError as error:
        require_right_angles(f"Image '{path}'", error)
        raise UserInputError(f"Image '{path}' cannot be read; give {FORMATS}, complete and not damaged") from error


def require_right_angles(what: str, error: RuntimeError) -> None:
    """Name the cause where ITK refuses axes that are a little off a right angle.

    Raises:
        UserInputError: That is what ITK says; `what` starts the message.
    """
    if "orthonormal" in str(error):
        raise UserInputError(
            f"{what} has axes that are not at right angles to each other (not orthonormal), in its sform or direction; "
            "resample it onto a grid with right angles, or mend its header"
        ) from error


def _check_is_volume(path: Path, dimension: int, components: int, size: Sequence[int]) -> None:
    if dimension != 3:
        raise UserInputError(f"Image '{path}' is {dimension}D; give 3D volumes, one file per channel")
    if components != 1:
        raise UserInputError(f"Image '{path}' has {components} values per voxel; give scalar volumes, one per channel")
    if min(size) < 2:
        raise UserInputError(
            f"Image '{path}' is one slice ({' x '.join(str(n) for n in size)}): a 2D image; give a 3D volume, "
            "or the whole DICOM folder"
        )


def _read_dicom_folder(folder: Path) -> sitk.Image:
    names = series_files(folder)
    if len(names) < 2:
        raise UserInputError(f"DICOM folder '{folder}' holds one slice only; give the folder of a whole series")
    _check_slices_evenly_spaced(folder, names)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.SetOutputPixelType(sitk.sitkFloat32)  # each slice has its own rescale slope in PET
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UserInputError(f"DICOM folder '{folder}' cannot be read; export the series again") from error
    _check_is_volume(folder, image.GetDimension(), image.GetNumberOfComponentsPerPixel(), image.GetSize())
    return image


def series_files(folder: Path) -> tuple[str, ...]:
    """The files of the one series in a folder, sorted along the slice normal; other DICOM objects are left out.

    Raises:
        UserInputError: The folder holds no series, or several.
    """
    if not any(folder.iterdir()):
        raise UserInputError(f"DICOM folder '{folder}' is empty; check the path")
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise UserInputError(f"Folder '{folder}' holds no DICOM series; give {FORMATS}")
    files = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in series}
    if len(series) > 1:
        names = "; ".join(f"{_description(names[0])} ({len(names)} slices, {uid})" for uid, names in files.items())
        raise UserInputError(
            f"DICOM folder '{folder}' holds {len(series)} series: {names}; put the wanted one in its own folder"
        )
    return tuple(files[series[0]])


def _description(file: str) -> str:
    reader = _header(file)
    description = reader.GetMetaData("0008|103e").strip() if reader.HasMetaDataKey("0008|103e") else ""
    return f"'{description}'" if description else "without description"


def _header(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader


def _check_slices_evenly_spaced(folder: Path, names: Sequence[str]) -> None:
    """ITK reads an uneven or sheared stack as if it were even: the contours would be misplaced."""
    headers = [_header(name) for name in names]
    positions = np.array([header.GetOrigin() for header in headers])[:, :3]
    normal = np.reshape(headers[0].GetDirection(), (3, 3))[:, 2]
    steps = np.diff(positions, axis=0)
    along = np.abs(steps @ normal)
    aside = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    usual = float(np.median(along))
    if aside.max() > SLICE_TOLERANCE_MM:
        raise UserInputError(
            f"DICOM folder '{folder}' has slices shifted {aside.max():.3g} mm sideways (gantry tilt?); "
            "correct the tilt and give a volume file"
        )
    uneven = np.flatnonzero(np.abs(along - usual) > SLICE_TOLERANCE_MM)
    if uneven.size:
        before, after = list(pairwise(Path(name).name for name in names))[uneven[0]]
        raise UserInputError(
            f"DICOM folder '{folder}' has a step of {along[uneven[0]]:.4g} mm between '{before}' and '{after}' where "
            f"{usual:.4g} mm is usual; add the missing slices, or resample to even spacing"
        )
