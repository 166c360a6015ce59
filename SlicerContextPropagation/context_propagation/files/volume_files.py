"""One file that holds a volume: NIfTI, NRRD, MHA, or what else ITK reads; its grid at right angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import ijk_to_lps_of
from context_propagation.files.image_axes import at_right_angles
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.files.nifti_files import is_nifti, read_nifti
from context_propagation.files.volume_headers import check_header


def read_volume(path: Path, what: str, give: str) -> sitk.Image:
    """Read a 3D scalar volume with the voxels' type of the file.

    Args:
        path: A file that is there.
        what: Starts a message: "Image" or "Segmentation".
        give: What to give instead of a file that cannot be read.

    Raises:
        UserInputError: It is truncated or damaged, is not 3D, has several values per voxel, or its grid is sheared.
    """
    if is_nifti(path):
        return read_nifti(path, what, give)
    check_header(path, what)
    try:
        with native_messages_hidden():
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserInputError(f"{what} '{path}' cannot be read; give {give}") from error
    if image.GetDimension() != 3:
        raise UserInputError(f"{what} '{path}' is {image.GetDimension()}D; give 3D volumes, one file per channel")
    if image.GetNumberOfComponentsPerPixel() != 1:
        count = image.GetNumberOfComponentsPerPixel()
        raise UserInputError(f"{what} '{path}' has {count} values per voxel; give scalar volumes, one per channel")
    grid = at_right_angles(ijk_to_lps_of(image), image.GetSize(), f"{what} '{path}'")
    if not np.array_equal(grid, ijk_to_lps_of(image)):
        image.SetOrigin(grid[:3, 3].tolist())
        image.SetSpacing(np.linalg.norm(grid[:3, :3], axis=0).tolist())
        image.SetDirection((grid[:3, :3] / np.linalg.norm(grid[:3, :3], axis=0)).ravel().tolist())
    return image
