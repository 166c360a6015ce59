"""Where a phantom is drawn: sample points in mm, smooth random fields, and signed distances of simple shapes.

Lengths are mm; x, y, z are patient coordinates (LPS: towards left, posterior, superior). A signed distance is below 0
inside. All of it is evaluated at points, not on a grid, so that one anatomy can be sampled on any grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

WAVES = 20
"""Of a random field: its values are then as good as normally distributed."""


Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Space:
    """Sample points of a volume.

    Attributes:
        x: float32, mm; it broadcasts to `[K, J, I]`, as y and z do.
        y: float32, mm.
        z: float32, mm.
        axes: The points' places `[K]`, `[J]`, `[I]` along the grid's own axes in mm, which random fields live on.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of_grid(cls, size_ijk: tuple[int, int, int], spacing_ijk_mm: Triple, samples_per_slice: int) -> Space:
        """Centred on (0, 0, 0); each slice is sampled at several depths within its thickness."""
        i, j, k = size_ijk
        depths = (np.arange(k * samples_per_slice) + 0.5) / samples_per_slice - 0.5
        x, y, z = (
            ((at - (n - 1) / 2) * spacing).astype(np.float32)
            for at, n, spacing in zip((np.arange(i), np.arange(j), depths), (i, j, k), spacing_ijk_mm, strict=True)
        )
        return cls(x[None, None, :], y[None, :, None], z[:, None, None], (z, y, x))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, J, I) of the samples."""
        return self.axes[0].size, self.axes[1].size, self.axes[2].size

    def moved(self, dx: np.ndarray | float, dy: np.ndarray | float, dz: np.ndarray | float) -> Space:
        """The points displaced by mm; a shape seen at them is displaced the other way."""
        return replace(self, x=self.x + dx, y=self.y + dy, z=self.z + dz)

    def field(self, rng: np.random.Generator, length_mm: float) -> np.ndarray:
        """A smooth random field `[K, J, I]`, mean 0, standard deviation about 1.

        A sum of plane waves of random direction and phase, so that it can be evaluated anywhere.

        Args:
            rng: Draws the waves.
            length_mm: Over so much its values stay alike.
        """
        vectors = (rng.standard_normal((WAVES, 3)) / length_mm).astype(np.float32)
        phases = rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32)
        z, y, x = self.axes
        total = np.zeros(self.shape, np.float32)
        for (kx, ky, kz), phase in zip(vectors, phases, strict=True):  # cos(a + b) from a on one axis, b on two
            along, across = (kz * z + phase)[:, None, None], (ky * y)[:, None] + (kx * x)[None, :]
            total += np.cos(along) * np.cos(across) - np.sin(along) * np.sin(across)
        return total * np.float32(np.sqrt(2 / WAVES))

    def ellipsoid(self, centre: Triple, radii: Triple) -> np.ndarray:
        """Distance to an ellipsoid, exact to first order near its surface."""
        return _ellipsoid([self.x - centre[0], self.y - centre[1], self.z - centre[2]], radii)

    def column(self, centre_xy: tuple[np.ndarray | float, np.ndarray | float], radii_xy: Sequence[float]) -> np.ndarray:
        """Distance to an endless elliptic column along z, whose centre may depend on z."""
        return _ellipsoid([self.x - centre_xy[0], self.y - centre_xy[1]], radii_xy)

    def capsule(self, start: Triple, stop: Triple, radius: float) -> np.ndarray:
        """Distance to a rounded rod."""
        a, b = np.asarray(start, np.float32), np.asarray(stop, np.float32)
        along = b - a
        px, py, pz = self.x - a[0], self.y - a[1], self.z - a[2]
        t = np.clip((px * along[0] + py * along[1] + pz * along[2]) / float(along @ along), 0, 1)
        squared = (px - t * along[0]) ** 2 + (py - t * along[1]) ** 2 + (pz - t * along[2]) ** 2
        return np.asarray(np.sqrt(squared) - radius)

    def between(self, low_mm: float, high_mm: float) -> np.ndarray:
        """Distance to the slab low < z < high."""
        return np.broadcast_to(np.maximum(low_mm - self.z, self.z - high_mm), self.shape)


def _ellipsoid(offsets: Sequence[np.ndarray], radii: Sequence[float]) -> np.ndarray:
    scaled = sum((p / r) ** 2 for p, r in zip(offsets, radii, strict=True))
    steep = sum((p / r**2) ** 2 for p, r in zip(offsets, radii, strict=True))
    norm = np.sqrt(scaled)
    distance = norm * (norm - 1) / np.maximum(np.sqrt(steep), 1e-6)
    return np.where(norm < 1e-5, -min(radii), distance)  # 0 / 0 in the very centre


def both(*distances: np.ndarray) -> np.ndarray:
    """Distance to what lies in all the shapes."""
    return reduce(np.maximum, distances)


def either(*distances: np.ndarray) -> np.ndarray:
    """Distance to what lies in any of the shapes."""
    return reduce(np.minimum, distances)


def blended(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """As `either`, with the groove between the two filled over a width (polynomial smooth minimum)."""
    h = np.clip(0.5 + 0.5 * (second - first) / width_mm, 0, 1)
    return np.asarray(second * (1 - h) + first * h - width_mm * h * (1 - h))
