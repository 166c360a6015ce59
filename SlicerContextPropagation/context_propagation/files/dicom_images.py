"""Images from DICOM: a folder with one file for each slice, or one file that holds all slices."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_headers import (
    frame_headers,
    frames_of,
    slice_headers,
    slices_and_localizers,
)
from context_propagation.files.dicom_stack import even_stack
from context_propagation.files.image_axes import image_on

logger = logging.getLogger(__name__)


def read_dicom_folder(folder: Path) -> sitk.Image:
    """Read the one series of a folder as float32, in its units.

    Raises:
        UserInputError: No series, or several; a slice that does not say where it lies; slices that are no even stack.
    """
    files, localizers = slices_and_localizers(folder)
    if localizers:
        names = ", ".join(f"'{Path(file).name}'" for file in localizers[:3]) + (", ..." if len(localizers) > 3 else "")
        logger.warning("of DICOM folder '%s' the localizer %s is left out: it is no slice of the stack", folder, names)
    return read_dicom_files(folder, files)


def read_dicom_files(folder: Path, files: Sequence[str]) -> sitk.Image:
    """As `read_dicom_folder`, where the files of the series are known; the folder may hold others beside them."""
    if len(files) == 1 and frames_of(files[0]) > 1:
        return read_frames(Path(files[0]))
    if len(files) < 2:
        raise UserInputError(f"DICOM folder '{folder}' holds one slice only; give the folder of a whole series")
    stack = even_stack(f"DICOM folder '{folder}'", slice_headers(files))
    voxels = _voxels(f"DICOM folder '{folder}'", [files[number] for number in stack.order])
    return image_on(voxels, stack.ijk_to_lps)


def read_frames(path: Path) -> sitk.Image:
    """Read one file of several frames as float32, in its units.

    Raises:
        UserInputError: As `read_dicom_folder`.
    """
    what = f"DICOM file '{path}'"
    headers = frame_headers(str(path))
    stack = even_stack(what, headers)
    voxels = _voxels(what, [str(path)])
    if len(voxels) != len(headers):
        raise UserInputError(f"{what} says that it has {len(headers)} frames and holds {len(voxels)}; export it again")
    return image_on(voxels[stack.order], stack.ijk_to_lps)


def _voxels(what: str, files: Sequence[str]) -> np.ndarray:
    """float32 `[K, J, I]`; each slice has its own rescale slope in PET."""
    try:
        read = sitk.ReadImage(list(files) if len(files) > 1 else files[0], sitk.sitkFloat32)
    except RuntimeError as error:
        raise UserInputError(f"{what} cannot be read; export the series again") from error
    if read.GetDimension() != 3 or read.GetNumberOfComponentsPerPixel() != 1:
        raise UserInputError(f"{what} holds colour images; give grey ones")
    return np.asarray(sitk.GetArrayFromImage(read))
