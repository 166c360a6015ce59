"""A bent, long organ in soft tissue that is partly as bright as it is, as in a small MR volume."""

from __future__ import annotations

import numpy as np

from context_propagation.core.phantom.anatomy import Anatomy, Difficulty, Style, infiltration, paint
from context_propagation.core.phantom.space import Space, blended, both, either

TISSUE, FLUID = 300.0, 90.0
"""Signal of what lies around, and of the spaces in it."""


CONTRAST = 1.8
"""Of the organ against tissue, for each HU of a tumour against muscle."""


NEIGHBOURS = 16


def organ(space: Space, rng: np.random.Generator, difficulty: Difficulty) -> Anatomy:
    """One case at the sample points, the organ near their centre; signal in place of HU, without a unit.

    Args:
        space: The sample points.
        rng: Draws the organ, its surroundings and the style.
        difficulty: What makes it hard.
    """
    space = space.moved(*rng.normal(0, 3, 3).astype(np.float32))
    bend, phase = rng.uniform(2, 7, 2), rng.uniform(0, 2 * np.pi, 2)
    bent = space.moved(bend[0] * np.sin(space.z / 16 + phase[0]), bend[1] * np.cos(space.z / 20 + phase[1]), 0.0)
    direction = _direction(rng)
    half, thick = rng.uniform(16, 26), rng.uniform(7, 11)
    start, stop = (tuple(float(side * half * d) for d in direction) for side in (-1, 1))
    body = bent.capsule((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), thick)
    wide = rng.uniform(1.0, 1.6, 3) * thick
    head = bent.ellipsoid((start[0], start[1], start[2]), (wide[0], wide[1], wide[2]))
    shape = blended(body, head, 6) + 1.2 * space.field(rng, 9)
    contrast, visible = CONTRAST * rng.uniform(*difficulty.contrast_hu), rng.uniform(*difficulty.visible_share)
    tip, along = infiltration(bent, (stop[0], stop[1], stop[2]), direction, 14.0, 0.6 * thick)
    signal = TISSUE + 14 * space.field(rng, 12) + 8 * space.field(rng, 4)
    for _ in range(NEIGHBOURS):
        _paint_neighbour(space, rng, signal, contrast)
    paint(signal, shape, TISSUE + contrast + 12 * space.field(rng, 6))
    paint(signal, tip, TISSUE + contrast, np.clip(1.2 * visible - along, 0, 1))
    style = Style.drawn(rng, difficulty)
    followed = np.where(along <= style.extent, tip, np.inf)
    gtv = either(shape, both(tip, followed)) - style.offset_mm + 0.4 * space.field(rng, 6)
    return Anatomy(signal.astype(np.float32), gtv < 0, style)


def _direction(rng: np.random.Generator) -> np.ndarray:
    """Of the organ: up to about 50 degrees from z."""
    direction = np.array([*rng.uniform(-0.8, 0.8, 2), 1.0])
    return np.asarray(direction / np.linalg.norm(direction))


def _paint_neighbour(space: Space, rng: np.random.Generator, signal: np.ndarray, contrast: float) -> None:
    """Fluid, or tissue somewhere between the surroundings and the organ."""
    around = rng.normal(0, 1, 3)
    x, y, z = (float(at) for at in rng.uniform(11, 36) * around / np.linalg.norm(around))
    radii = rng.uniform(4, 12, 3)
    value = FLUID if rng.random() < 0.3 else TISSUE + rng.uniform(-0.8, 1.0) * contrast
    paint(signal, space.ellipsoid((x, y, z), (radii[0], radii[1], radii[2])) + 1.0 * space.field(rng, 10), value)
