"""Reading images: NIfTI, NRRD, MHA and DICOM folders; several files are the channels of one image."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume, farthest_apart_mm, same_grid
from context_propagation.files.dicom_files import has_dicom_content
from context_propagation.files.dicom_headers import frames_of
from context_propagation.files.dicom_images import read_dicom_folder, read_frames
from context_propagation.files.dicom_series import dicom_folders, slice_files
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.files.suv import pet_units, suv_factor
from context_propagation.files.volume_files import read_volume

FORMATS = "NIfTI, NRRD, MHA or a DICOM folder"


def read_source_volume(paths: Sequence[Path], suv: bool = False) -> SourceVolume:
    """Read the channels of one image.

    Args:
        paths: One file or DICOM folder per channel, in the channel order of the model.
        suv: Whether each channel that is a DICOM PET becomes SUV; one at least must be.

    Raises:
        UserInputError: A path is missing, empty or unreadable; an image is not a 3D scalar volume of finite voxels;
            the channels lie on different grids.
    """
    pets = pets_among(paths)
    if suv and not pets:
        raise UserInputError("--suv is for a DICOM folder of a PET, and --image names none; leave --suv out")
    images = [read_image(path, suv and path in pets) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if not same_grid(image, images[0]):
            raise UserInputError(
                f"Image '{path}' ({_grid(image)}) is not on the grid of '{paths[0]}' ({_grid(images[0])})"
                f"{_apart(image, images[0])}; resample it onto that grid first"
            )
    return SourceVolume.from_sitk(images)


def read_image(path: Path, suv: bool = False) -> sitk.Image:
    """Read one channel as float32.

    Args:
        path: A file, or a DICOM folder.
        suv: Whether the folder holds a PET that becomes SUV.

    Raises:
        UserInputError: The path is missing, empty or unreadable, or is not a 3D scalar volume of finite voxels; or what
            SUVs are computed from is missing or contradictory.
    """
    check_exists(path, "Image")
    if suv and not path.is_dir():
        raise UserInputError(
            f"Image '{path}' is no DICOM folder, whose headers say what SUVs are made of; leave --suv out"
        )
    factor = suv_factor(slice_files(path), f"DICOM folder '{path}'") if suv else None
    with native_messages_hidden():
        image = read_dicom_folder(path) if path.is_dir() else _read_file(path)
    _check_finite(path, sitk.GetArrayViewFromImage(image))
    return image if factor is None else image * factor


def pets_among(paths: Sequence[Path]) -> dict[Path, str]:
    """Which of an image's channels are DICOM folders of a PET, and their units."""
    if find_spec("pydicom") is None:
        return {}
    units = {}
    for folder in dicom_folders(paths):
        files = (file for file in sorted(folder.iterdir()) if file.is_file() and has_dicom_content(file))
        units[folder] = next((pet_units(file) for file in files), "")
    return {path: unit for path, unit in units.items() if unit}


def check_exists(path: Path, what: str) -> None:
    """Refuse a path that is missing, or a file without content.

    Raises:
        UserInputError: Naming the path; `what` starts the message.
    """
    if not path.exists():
        raise UserInputError(f"{what} '{path}' does not exist; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise UserInputError(f"{what} '{path}' is an empty file; export it again")


def _check_finite(path: Path, voxels: np.ndarray) -> None:
    if not np.issubdtype(voxels.dtype, np.floating):
        return
    broken = voxels.size - int(np.isfinite(voxels).sum())
    if broken:
        raise UserInputError(f"Image '{path}' has {broken} NaN or infinite voxels; replace them before segmenting")


def _grid(image: sitk.Image) -> str:
    """Size, spacing and origin, as exactly as they may differ, short enough for one line."""
    size = " x ".join(str(n) for n in image.GetSize())
    spacing = " x ".join(f"{s:.10g}" for s in image.GetSpacing())
    origin = ", ".join(f"{o:.10g}" for o in image.GetOrigin())
    return f"{size} voxels, {spacing} mm, origin {origin}"


def _apart(image: sitk.Image, other: sitk.Image) -> str:
    if image.GetSize() != other.GetSize():
        return ""
    return f", their voxels lie up to {farthest_apart_mm(image, other):.4g} mm apart"


def _read_file(path: Path) -> sitk.Image:
    if has_dicom_content(path) and frames_of(str(path)) > 1:
        return read_frames(path)
    image = read_volume(path, "Image", f"{FORMATS}, complete and not damaged")
    size = image.GetSize()
    if min(size) < 2:
        raise UserInputError(
            f"Image '{path}' is one slice ({' x '.join(str(n) for n in size)}): a 2D image; give a 3D volume, "
            "or the whole DICOM folder"
        )
    return sitk.Cast(image, sitk.sitkFloat32)
