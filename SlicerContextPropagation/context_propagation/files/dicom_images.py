"""Images from DICOM: a folder with one file for each slice, or one file that holds all slices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import EvenSlices
from context_propagation.files.dicom_headers import (
    SliceHeader,
    frame_headers,
    frames_of,
    slice_headers,
    slices_and_localizers,
)
from context_propagation.files.dicom_stack import even_stack, stack_made_even
from context_propagation.files.dicom_values import check_rescale, stored_step
from context_propagation.files.image_axes import image_on

logger = logging.getLogger(__name__)


def read_dicom_folder(folder: Path) -> sitk.Image:
    """Read the one series of a folder as float32, in its units.

    Raises:
        UserInputError: No series, or several; a slice that does not say where it lies; slices that are no even stack.
    """
    return _even_image(_of_folder(folder))


def read_dicom_files(folder: Path, files: Sequence[str]) -> sitk.Image:
    """As `read_dicom_folder`, where the files of the series are known; the folder may hold others beside them."""
    return _even_image(_of_files(folder, files))


def read_frames(path: Path) -> sitk.Image:
    """Read one file of several frames as float32, in its units.

    Raises:
        UserInputError: As `read_dicom_folder`.
    """
    return _even_image(_of_file(path))


def read_made_even(folder: Path) -> tuple[sitk.Image, EvenSlices]:
    """Read the one series of a folder as float32, in its units, on an even stack where its slices lie unevenly.

    Returns:
        The image, and how it was made of the slices.

    Raises:
        UserInputError: As `read_dicom_folder`, but for uneven distances; the even stack would be far larger.
    """
    return _made_even(_of_folder(folder))


def read_files_made_even(folder: Path, files: Sequence[str]) -> tuple[sitk.Image, EvenSlices]:
    """As `read_made_even`, where the files of the series are known; the folder may hold others beside them."""
    return _made_even(_of_files(folder, files))


def _made_even(slices: _Slices) -> tuple[sitk.Image, EvenSlices]:
    stack, even = stack_made_even(slices.what, slices.headers)
    return image_on(even.image(slices.voxels(stack.order)), stack.ijk_to_lps), even


@dataclass(frozen=True)
class _Slices:
    """Slices of one series.

    Attributes:
        what: Starts messages.
        headers: Of each.
        voxels: Reads them in an order, float32 `[K, J, I]`.
    """

    what: str
    headers: Sequence[SliceHeader]
    voxels: Callable[[Sequence[int]], np.ndarray]


def _even_image(slices: _Slices) -> sitk.Image:
    stack = even_stack(slices.what, slices.headers)
    return image_on(slices.voxels(stack.order), stack.ijk_to_lps)


def _of_folder(folder: Path) -> _Slices:
    files, localizers = slices_and_localizers(folder)
    if localizers:
        names = ", ".join(f"'{Path(file).name}'" for file in localizers[:3]) + (", ..." if len(localizers) > 3 else "")
        logger.warning("of DICOM folder '%s' the localizer %s is left out: it is no slice of the stack", folder, names)
    return _of_files(folder, files)


def _of_files(folder: Path, files: Sequence[str]) -> _Slices:
    if len(files) == 1 and frames_of(files[0]) > 1:
        return _of_file(Path(files[0]))
    what = f"DICOM folder '{folder}'"
    if len(files) < 2:
        raise UserInputError(f"{what} holds one slice only; give the folder of a whole series")
    headers, steps = slice_headers(files), [stored_step(file) for file in files]

    def read(order: Sequence[int]) -> np.ndarray:
        return _scaled(_voxels(what, [files[number] for number in order]), [steps[number] for number in order])

    return _Slices(what, headers, read)


def _of_file(path: Path) -> _Slices:
    what = f"DICOM file '{path}'"
    headers, step = frame_headers(str(path)), stored_step(str(path))
    check_rescale(path)

    def read(order: Sequence[int]) -> np.ndarray:
        voxels = _voxels(what, [str(path)])
        if len(voxels) != len(headers):
            raise UserInputError(
                f"{what} says that it has {len(headers)} frames and holds {len(voxels)}; export it again"
            )
        return _scaled(voxels[list(order)], [step] * len(order))

    return _Slices(what, headers, read)


def _scaled(voxels: np.ndarray, steps: Sequence[float]) -> np.ndarray:
    """The voxels, float32 `[K, J, I]`, each slice times its step."""
    if set(steps) != {1.0}:
        voxels *= np.array(steps, np.float32)[:, None, None]
    return voxels


def _voxels(what: str, files: Sequence[str]) -> np.ndarray:
    """float32 `[K, J, I]`; each slice has its own rescale slope in PET."""
    try:
        read = sitk.ReadImage(list(files) if len(files) > 1 else files[0], sitk.sitkFloat32)
    except RuntimeError as error:
        raise UserInputError(f"{what} cannot be read; export the series again") from error
    if read.GetDimension() != 3 or read.GetNumberOfComponentsPerPixel() != 1:
        raise UserInputError(f"{what} holds colour images; give grey ones")
    return np.asarray(sitk.GetArrayFromImage(read))
