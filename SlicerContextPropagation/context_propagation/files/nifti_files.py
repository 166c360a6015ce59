"""NIfTI files, whose header may place the voxels in three ways that contradict each other.

Source: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION".
"""

from __future__ import annotations

import logging
import zlib
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.files.image_axes import at_right_angles, image_on

if TYPE_CHECKING:
    import SimpleITK as sitk

logger = logging.getLogger(__name__)


ENDINGS = (".nii", ".nii.gz")


SCANNER = 1
"""The code of a form that holds the scanner's coordinates."""


CONTRADICTION = 0.1
"""From how much on two placements of the farthest voxel differ, in voxels."""


MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith(ENDINGS)


def read_nifti(path: Path, what: str, give: str) -> sitk.Image:
    """Read a NIfTI file, rescaled where its header says so, on a grid at right angles.

    ITK reads a truncated file as far as it goes, NaN as 0, and takes spacing and directions from different forms.

    Args:
        path: The file.
        what: Starts a message: "Image" or "Segmentation".
        give: What to give instead of a file that is no NIfTI.

    Raises:
        UserInputError: The file is truncated or damaged, is not 3D, holds colours, or its grid is sheared.
    """
    nibabel = require("nibabel", extra="cli")
    named = f"{what} '{path}'"
    unreadable = (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError)
    try:
        with nibabel.imageglobals.LoggingOutputSuppressor():
            file = nibabel.load(path)
    except unreadable as error:
        raise UserInputError(f"{named} cannot be read; give {give}") from error
    try:
        with nibabel.imageglobals.LoggingOutputSuppressor():
            with nibabel.openers.Opener(str(path)) as stored:
                header = type(file.header).from_fileobj(stored, check=False)  # else nibabel mends what is no size
            voxels = file.get_fdata(dtype=np.float32) if _is_scaled(file) else np.asanyarray(file.dataobj)
    except unreadable as error:
        raise UserInputError(f"'{path}' cannot be read; it is truncated or damaged: copy or export it again") from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise UserInputError(f"{named} is {voxels.ndim}D; give 3D volumes, one file per channel")
    if voxels.dtype.kind not in "iufb":
        raise UserInputError(f"{named} has {len(voxels.dtype) or 2} values per voxel; give scalar volumes")
    small = voxels.dtype.kind == "f" and voxels.dtype.itemsize != 8
    as_stored = voxels.astype(np.float32 if small else voxels.dtype.newbyteorder("="), copy=False)
    return image_on(np.ascontiguousarray(as_stored.T), _ijk_to_lps(header, voxels.shape, named))


def _is_scaled(file: Any) -> bool:
    return (file.dataobj.slope, file.dataobj.inter) != (1, 0)


def _ijk_to_lps(header: Any, shape_ijk: tuple[int, ...], what: str) -> np.ndarray:
    """The grid by the form that ITK, and so Slicer, prefers: the sform where it is the scanner's or the only one."""
    forms = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    matrices = {name: _form(header, name) for name, code in forms.items() if code > 0}
    matrices = {name: matrix for name, matrix in matrices.items() if matrix is not None}
    if not matrices:
        return _without_place(header, shape_ijk, what)
    first = "sform" if forms["sform"] == SCANNER or "qform" not in matrices else "qform"
    first = first if first in matrices else next(iter(matrices))
    other = next((name for name in matrices if name != first), None)
    try:
        grid = at_right_angles(matrices[first], shape_ijk, what)
    except UserInputError:
        if other is None:
            raise
        first, other = other, first
        grid = at_right_angles(matrices[first], shape_ijk, what)
    if other is not None:
        _warn_of_contradiction(what, first, other, grid, matrices[other], shape_ijk)
    if first == "sform":
        _warn_of_spacing(header, grid, shape_ijk, what)
    return grid


def _form(header: Any, name: str) -> np.ndarray | None:
    """A form as a matrix to LPS in mm; None where it cannot be one."""
    if name == "qform" and not _sizes_mm(header).all():
        return None
    try:
        to_ras = header.get_sform() if name == "sform" else header.get_qform()
    except (ValueError, require("nibabel.spatialimages", extra="cli").HeaderDataError):
        return None
    if not np.isfinite(to_ras).all() or not to_ras[:3, :3].any():
        return None
    scale = MM[header.get_xyzt_units()[0]]
    return np.asarray(np.diag([-scale, -scale, scale, 1]) @ to_ras)


def _sizes_mm(header: Any) -> np.ndarray:
    """By the header's pixdim."""
    return np.abs(np.array(header["pixdim"][1:4], float)) * MM[header.get_xyzt_units()[0]]


def _without_place(header: Any, shape_ijk: tuple[int, ...], what: str) -> np.ndarray:
    logger.warning(
        "%s does not say where it lies (the codes of sform and qform are 0): its axes are taken as left, posterior, "
        "superior",
        what,
    )
    return at_right_angles(np.diag([*_sizes_mm(header), 1.0]), shape_ijk, what)


def _warn_of_contradiction(
    what: str, first: str, other: str, grid: np.ndarray, rest: np.ndarray, shape_ijk: tuple[int, ...]
) -> None:
    corners = np.array(list(product(*((0, n - 1) for n in shape_ijk), (1,)))).T
    apart = (rest - grid)[:3] @ corners
    if np.abs(np.linalg.solve(grid[:3, :3], apart)).max() > CONTRADICTION:
        logger.warning(
            "%s is placed in two ways, up to %.4g mm apart: by its sform and by its qform; the %s is taken, as Slicer "
            "takes it, and the %s is not",
            *(what, np.linalg.norm(apart, axis=0).max(), first, other),
        )


def _warn_of_spacing(header: Any, grid: np.ndarray, shape_ijk: tuple[int, ...], what: str) -> None:
    """ITK takes the voxel sizes from pixdim whatever the sform says."""
    sizes = np.linalg.norm(grid[:3, :3], axis=0)
    said = _sizes_mm(header)
    if (np.abs(said - sizes) * np.subtract(shape_ijk, 1) > CONTRADICTION * sizes).any():
        logger.warning(
            "%s has voxels of %s mm by its pixdim and of %s mm by its sform; the sform is taken: other programs may "
            "place it elsewhere",
            *(what, " x ".join(f"{size:g}" for size in said), " x ".join(f"{size:g}" for size in sizes)),
        )
