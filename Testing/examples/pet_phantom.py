"""A body with many organs, as a CT and as a PET, at any place of any grid: the truth is a function of the point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

RADII_MM = np.array([85.0, 65.0, 60.0])
TISSUES = np.array([(-750, 0.4), (-90, 0.3), (60, 2.5), (50, 4.0), (300, 1.6), (40, 7.0)])
"""HU and SUV: lung, fat, liver, heart, bone, tumour."""


def empty(size, spacing, centre=(0.0, 0.0, 0.0), direction=None) -> sitk.Image:
    """A grid centred at a point, LPS in mm."""
    direction = np.eye(3) if direction is None else np.asarray(direction)
    grid = sitk.Image(size, sitk.sitkFloat32)
    grid.SetSpacing(spacing)
    grid.SetDirection(direction.ravel().tolist())
    half = direction @ ((np.array(size) - 1) / 2 * np.array(spacing))
    grid.SetOrigin((np.array(centre) - half).tolist())
    return grid


def rotation(degrees: float, axis=(1.0, 2.0, 3.0)) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    a = np.deg2rad(degrees)
    return np.eye(3) + np.sin(a) * cross + (1 - np.cos(a)) * cross @ cross


def points_of(grid: sitk.Image) -> np.ndarray:
    """`[N, 3]` LPS of all voxels, i fastest."""
    k, j, i = np.indices(grid.GetSize()[::-1])
    ijk = np.stack([i, j, k], axis=-1).reshape(-1, 3)
    matrix = np.reshape(grid.GetDirection(), (3, 3)) * np.array(grid.GetSpacing())
    return ijk @ matrix.T + np.array(grid.GetOrigin())


def moved(points: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def filled(grid: sitk.Image, values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(values.reshape(grid.GetSize()[::-1]).astype(np.float32))
    image.CopyInformation(grid)
    return image


@dataclass(frozen=True)
class Body:
    """Ellipsoids in an ellipsoid."""

    centres: np.ndarray
    radii: np.ndarray
    tissues: np.ndarray

    @classmethod
    def make(cls, organs: int = 120) -> Body:
        rng = np.random.default_rng(0)
        directions = rng.normal(size=(organs, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        centres = directions * rng.uniform(size=(organs, 1)) ** (1 / 3) * 0.92 * RADII_MM
        kinds = rng.choice(len(TISSUES), organs, p=[0.2, 0.25, 0.2, 0.1, 0.2, 0.05])
        return cls(centres, rng.uniform(6, 16, (organs, 3)), TISSUES[kinds])

    def ct(self, grid: sitk.Image) -> sitk.Image:
        noise = np.random.default_rng(1).normal(0, 15, grid.GetNumberOfPixels())
        return filled(grid, self._values(points_of(grid), 0.7, -1000, 30, 0) + noise)

    def pet(self, grid: sitk.Image, to_ct: sitk.Transform | None = None) -> sitk.Image:
        """The PET of the body; `to_ct` takes a point of the PET to the point of the CT that shows the same tissue."""
        points = points_of(grid) if to_ct is None else moved(points_of(grid), to_ct)
        white = filled(grid, np.random.default_rng(2).normal(size=grid.GetNumberOfPixels()))
        noise = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(white, 2.5)).ravel()
        return filled(grid, np.maximum(self._values(points, 2.0, 0, 1, 1) + 0.1 * noise / noise.std(), 0))

    def _values(self, points: np.ndarray, blur_mm: float, air: float, soft: float, column: int) -> np.ndarray:
        out, squares = np.full(len(points), float(air)), points**2
        shapes = [(np.zeros(3), RADII_MM, soft), *zip(self.centres, self.radii, self.tissues[:, column], strict=True)]
        for centre, radii, value in shapes:
            inverse = radii**-2.0
            distance_squared = squares @ inverse - points @ (2 * centre * inverse) + centre**2 @ inverse
            (near,) = np.nonzero(distance_squared < (1 + 30 * blur_mm / radii.min()) ** 2)
            depth = (1 - np.sqrt(np.maximum(distance_squared[near], 0))) * radii.min()
            weight = 1 / (1 + np.exp(-np.clip(depth / blur_mm, -30, 30)))
            out[near] = out[near] * (1 - weight) + weight * value
        return out


def inside(points: np.ndarray) -> np.ndarray:
    """Which points lie in the body."""
    return np.linalg.norm(points / RADII_MM, axis=1) < 1
