"""The image that is segmented: channels on one grid, and where that grid lies in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError

if TYPE_CHECKING:
    import SimpleITK as sitk


PLANES = ("sagittal", "coronal", "axial")
"""The plane whose normal is closest to L, P and S, in this order."""


AXIS_LETTERS = ("LR", "PA", "SI")
"""Which letters name the two ends of an axis."""


GRID_TOLERANCE_MM = 1e-3


def is_orientation(letters: str) -> bool:
    """Whether letters such as LPS name an end of each patient axis once."""
    axes = [axis for letter in letters for axis in AXIS_LETTERS if letter in axis]
    return len(letters) == 3 and sorted(axes) == sorted(AXIS_LETTERS)


@dataclass(frozen=True)
class SourceVolume:
    """Image channels on one grid.

    Attributes:
        channels: float32 `[C, K, J, I]`, finite.
        ijk_to_lps: float64 `[4, 4]`, from voxel indices (i, j, k) to patient coordinates LPS in mm.
    """

    channels: np.ndarray
    ijk_to_lps: np.ndarray

    def __post_init__(self) -> None:
        if self.channels.ndim != 4 or min(self.channels.shape) < 1:
            raise UserInputError(
                f"The image has shape {self.channels.shape}; give 3D volumes, one per channel, none of them empty"
            )
        if min(self.shape_kji) < 2:
            raise UserInputError(f"The image has {self.shape_kji} voxels (k, j, i); give a 3D volume, not one slice")
        if not np.isfinite(self.channels).all():
            count = int((~np.isfinite(self.channels)).sum())
            raise UserInputError(f"The image has {count} NaN or infinite voxels; replace them before segmenting")

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        k, j, i = self.channels.shape[1:]
        return k, j, i

    @property
    def spacing_kji_mm(self) -> tuple[float, float, float]:
        i, j, k = np.linalg.norm(self.ijk_to_lps[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def plane_of_axis(self) -> tuple[str, str, str]:
        """See `planes_of_axes`."""
        return planes_of_axes(self.ijk_to_lps)

    def axis_of_plane(self, plane: str) -> int:
        """The array axis (0: k, 1: j, 2: i) along which slices of this plane are stacked.

        Raises:
            UserInputError: `plane` is not axial, sagittal or coronal.
        """
        return axis_of_plane(self.plane_of_axis, plane)

    @classmethod
    def from_sitk(cls, images: Sequence[sitk.Image]) -> SourceVolume:
        """Stack 3D scalar images that lie on one grid.

        Raises:
            UserInputError: An image is not a 3D scalar volume, grids differ, or voxels are not finite.
        """
        for number, image in enumerate(images):
            if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
                raise UserInputError(
                    f"Image {number} is {image.GetDimension()}D with {image.GetNumberOfComponentsPerPixel()} "
                    "components; give one 3D scalar volume per channel"
                )
            if not same_grid(image, images[0]):
                raise UserInputError(
                    f"Image {number} (size {image.GetSize()}, spacing {image.GetSpacing()}) is not on the grid of "
                    f"image 0 (size {images[0].GetSize()}, spacing {images[0].GetSpacing()}); resample it first"
                )
        import SimpleITK as sitk  # not above: Slicer would wait a sixth of a second for it when the effect is chosen

        channels = np.stack([sitk.GetArrayFromImage(image).astype(np.float32) for image in images])
        return cls(channels, ijk_to_lps_of(images[0]))

    def mask_to_sitk(self, mask: np.ndarray) -> sitk.Image:
        """A mask `[K, J, I]` as a uint8 image on this grid.

        Raises:
            UserInputError: The grid is sheared, which an image file cannot hold.
        """
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        direction = _direction(self.ijk_to_lps)
        if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
            raise UserInputError("The image grid is sheared; harden or remove the shearing transform")
        image.SetSpacing(self.spacing_kji_mm[::-1])
        image.SetOrigin(self.ijk_to_lps[:3, 3].tolist())
        image.SetDirection(direction.ravel().tolist())
        return image


def planes_of_axes(ijk_to_lps: np.ndarray) -> tuple[str, str, str]:
    """The anatomical plane of the slices along each array axis (k, j, i): axial is the axis closest to superior."""
    axes_of = _closest_axes(_direction(ijk_to_lps)[:, ::-1])
    planes = ["", "", ""]
    for plane, axis in zip(PLANES, axes_of, strict=True):
        planes[axis] = plane
    return planes[0], planes[1], planes[2]


def axis_of_plane(planes: tuple[str, str, str], plane: str) -> int:
    """Which of the array axes' planes this is.

    Raises:
        UserInputError: `plane` is not axial, sagittal or coronal.
    """
    if plane not in PLANES:
        raise UserInputError(f"Unknown plane '{plane}'; choose axial, sagittal or coronal")
    return planes.index(plane)


def _direction(ijk_to_lps: np.ndarray) -> np.ndarray:
    """Unit direction cosines, columns i, j, k, rows L, P, S."""
    matrix = ijk_to_lps[:3, :3]
    return np.asarray(matrix / np.linalg.norm(matrix, axis=0))


def sitk_from_channel(volume: SourceVolume, channel: int = 0) -> sitk.Image:
    """One channel as an image, float32, with origin, spacing and direction; shears cannot be kept.

    Raises:
        UserInputError: The grid is sheared.
    """
    import SimpleITK as sitk

    image = volume.mask_to_sitk(np.zeros(volume.shape_kji, bool))
    result = sitk.GetImageFromArray(volume.channels[channel])
    result.CopyInformation(image)
    return result


def ijk_to_lps_of(image: sitk.Image) -> np.ndarray:
    """The matrix `[4, 4]` from voxel indices (i, j, k) of an image to LPS in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def same_grid(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether two images have the same size and place every corner voxel within a thousandth of a millimetre."""
    if a.GetSize() != b.GetSize():
        return False
    corners = np.array(list(product(*((0, n - 1) for n in a.GetSize()), (1,)))).T
    return bool(np.abs((ijk_to_lps_of(a) - ijk_to_lps_of(b)) @ corners).max() <= GRID_TOLERANCE_MM)


@dataclass(frozen=True)
class ArrayReorientation:
    """A permutation and flips of array axes, e.g. into the orientation that a network was trained in.

    Attributes:
        order: For each new axis (k, j, i), the old axis it takes.
        flipped: For each new axis, whether it runs backwards.
    """

    order: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Reorient the last three axes `[..., K, J, I]`; the result is a contiguous copy or the array itself."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.ascontiguousarray(moved[self._flip])

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `apply`."""
        lead = array.ndim - 3
        unflipped = array[self._flip]
        return np.ascontiguousarray(unflipped.transpose(*range(lead), *(lead + a for a in np.argsort(self.order))))

    @property
    def _flip(self) -> tuple[EllipsisType | slice, ...]:
        return (..., *(slice(None, None, -1 if flip else None) for flip in self.flipped))


def reorientation_to(volume: SourceVolume, orientation: str) -> ArrayReorientation:
    """The reorientation of a volume's arrays so that i, j, k run towards the letters of `orientation`.

    Args:
        volume: Any direction cosines; each array axis counts as the anatomical axis it is closest to.
        orientation: Three letters, e.g. "LPS" or "RAS": where i, j and k increase to.

    Raises:
        UserInputError: `orientation` does not name each of R/L, A/P, S/I once.
    """
    letters = orientation.upper()
    pairs = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
    if len(letters) != 3 or sorted(pairs.get(letter, -1) for letter in letters) != [0, 1, 2]:
        raise UserInputError(f"Unknown orientation '{orientation}'; give three letters such as LPS or RAS")
    direction_kji = _direction(volume.ijk_to_lps)[:, ::-1]
    axes_of = _closest_axes(direction_kji)
    order, flipped = [], []
    for letter in letters[::-1]:
        anatomical = pairs[letter]
        axis = axes_of[anatomical]
        order.append(axis)
        flipped.append(bool((direction_kji[anatomical, axis] > 0) != (letter in "LPS")))
    return ArrayReorientation((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))


def _closest_axes(direction: np.ndarray) -> tuple[int, int, int]:
    """For each anatomical axis (L, P, S), the column that it is assigned; the assignment with the largest total."""
    best = max(permutations(range(3)), key=lambda p: sum(abs(direction[row, column]) for row, column in enumerate(p)))
    return best[0], best[1], best[2]


def reoriented_volume(volume: SourceVolume, reorientation: ArrayReorientation) -> SourceVolume:
    """The volume with its arrays reoriented, at the same place in the patient."""
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new_axis in range(3):
        old_axis = reorientation.order[new_axis]
        row, column = 2 - old_axis, 2 - new_axis
        to_old[row, column] = -1 if reorientation.flipped[new_axis] else 1
        if reorientation.flipped[new_axis]:
            to_old[row, 3] = volume.shape_kji[old_axis] - 1
    return SourceVolume(reorientation.apply(volume.channels), volume.ijk_to_lps @ to_old)
