"""The image that is segmented: channels on one grid, and where that grid lies in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError

if TYPE_CHECKING:
    import SimpleITK as sitk


PLANES = ("sagittal", "coronal", "axial")
"""The plane whose normal is closest to L, P and S, in this order."""


AXIS_LETTERS = ("LR", "PA", "SI")
"""Which letters name the two ends of an axis."""


GRID_TOLERANCE_VOXELS = 0.01
"""By which two grids may part at their farthest voxel and still be one: headers are rounded."""


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
        direction = direction_cosines(self.ijk_to_lps)
        if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
            raise UserInputError("The image grid is sheared; harden or remove the shearing transform")
        image.SetSpacing(self.spacing_kji_mm[::-1])
        image.SetOrigin(self.ijk_to_lps[:3, 3].tolist())
        image.SetDirection(direction.ravel().tolist())
        return image


def planes_of_axes(ijk_to_lps: np.ndarray) -> tuple[str, str, str]:
    """The anatomical plane of the slices along each array axis (k, j, i): axial is the axis closest to superior."""
    axes_of = closest_axes(direction_cosines(ijk_to_lps)[:, ::-1])
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


def direction_cosines(ijk_to_lps: np.ndarray) -> np.ndarray:
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
    """Whether two images have the same size and place every voxel within a hundredth of a voxel."""
    return a.GetSize() == b.GetSize() and parting_voxels(a, b) <= GRID_TOLERANCE_VOXELS


def parting_voxels(a: sitk.Image, b: sitk.Image) -> float:
    """As `largest_displacement_voxels`, of two images of one size."""
    return largest_displacement_voxels(ijk_to_lps_of(a), ijk_to_lps_of(b), a.GetSize())


def largest_displacement_voxels(a: np.ndarray, b: np.ndarray, size_ijk: Sequence[int]) -> float:
    """How far two grids of one size part at their farthest voxel, in voxels of the first along an axis of it.

    Args:
        a: `[4, 4]`, from voxel indices (i, j, k) to millimetres.
        b: The other one.
        size_ijk: Voxels along i, j, k.
    """
    corners = np.array(list(product(*((0, n - 1) for n in size_ijk), (1,)))).T
    return float(np.abs(np.linalg.solve(a, (a - b) @ corners)[:3]).max())


def closest_axes(direction: np.ndarray) -> tuple[int, int, int]:
    """For each anatomical axis (L, P, S), the column that it is assigned; the assignment with the largest total."""
    best = max(permutations(range(3)), key=lambda p: sum(abs(direction[row, column]) for row, column in enumerate(p)))
    return best[0], best[1], best[2]
