"""A head with a nasopharyngeal tumour: compact, with fingers of infiltration along the tissue planes around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from context_propagation.core.phantom.anatomy import (
    AIR_HU,
    BRAIN_HU,
    CORTEX_HU,
    FAT_HU,
    FLUID_HU,
    MUSCLE_HU,
    TRABECULAR_HU,
    Anatomy,
    Difficulty,
    Style,
    infiltration,
    paint,
)
from context_propagation.core.phantom.space import Space, Triple, blended, both, either

WAYS = {
    "parapharyngeal": (1.0, -0.1, -0.2),
    "skull base": (0.3, 0.2, 1.0),
    "retropharyngeal": (-0.1, 0.3, -1.0),
    "choana": (-0.3, -1.0, 0.1),
    "other side": (-1.0, 0.1, 0.1),
}
"""Directions in which such tumours infiltrate, for one on the left."""


def nasopharynx(space: Space, rng: np.random.Generator, difficulty: Difficulty) -> Anatomy:
    """One case at the sample points, the nasopharynx near their centre.

    Args:
        space: The sample points.
        rng: Draws the patient, the tumour and the style.
        difficulty: What makes it hard.
    """
    space = _turned_head(space, rng)
    hu, airway, bone = _head(space, rng)
    side = 1.0 if rng.integers(2) else -1.0
    centre = (side * rng.uniform(7, 12), rng.uniform(4, 9), rng.uniform(2, 12))
    radii = (rng.uniform(9, 15), rng.uniform(8, 13), rng.uniform(10, 18))
    roughness = space.field(rng, 9)
    core = space.ellipsoid(centre, radii) + 1.8 * roughness
    style = Style.drawn(rng, difficulty)
    contrast, visible = rng.uniform(*difficulty.contrast_hu), rng.uniform(*difficulty.visible_share)
    texture = MUSCLE_HU + contrast + 4 * space.field(rng, 5)
    contoured = core
    for name in rng.permutation(list(WAYS))[: rng.integers(2, 5)]:
        finger, way, followed = _finger(space, rng, WAYS[name], side, centre, radii, style.extent)
        paint(hu, finger + 1.2 * roughness, texture, np.clip((visible - way) / 0.3, 0, 1))
        contoured = blended(contoured, followed + 1.2 * roughness, 3)
    paint(hu, core, texture)
    paint(hu, both(core + 3, bone), TRABECULAR_HU, 0.6)  # eroded, not gone
    paint(hu, airway, AIR_HU)
    hand = 0.5 * space.field(rng, 6)
    gtv = both(contoured - style.offset_mm + hand, -airway)
    if not style.generous:
        gtv = both(gtv, -bone)
    return Anatomy(hu, gtv < 0, style)


def _finger(
    space: Space,
    rng: np.random.Generator,
    towards: Triple,
    side: float,
    centre: Triple,
    radii: Triple,
    extent: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance to a finger, the way along it, and distance to as much of it as the observer follows."""
    direction = np.asarray(towards) * (side, 1, 1) + 0.25 * rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    start = (
        centre[0] + 0.6 * radii[0] * float(direction[0]),
        centre[1] + 0.6 * radii[1] * float(direction[1]),
        centre[2] + 0.6 * radii[2] * float(direction[2]),
    )
    length, radius = rng.uniform(12, 26), rng.uniform(4, 7)
    whole, way = infiltration(space, start, direction, length, radius)
    followed, _ = infiltration(space, start, direction, length * extent, radius)
    return whole, way, followed


def _turned_head(space: Space, rng: np.random.Generator) -> Space:
    """The points as the patient's own head sees them: other sizes, tilted, shifted."""
    scale = rng.uniform(0.94, 1.06)
    yaw, tilt = rng.normal(0, 0.04, 2)
    x, y, z = (axis / np.float32(scale) for axis in (space.x, space.y, space.z))
    yaw, tilt = np.float32(yaw), np.float32(tilt)
    turned = replace(space, x=x + yaw * y, y=y - yaw * x + tilt * z, z=z - tilt * y)
    return turned.moved(*rng.normal(0, 3, 3).astype(np.float32))


def _head(space: Space, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU without tumour, and distances to the airway and to bone."""
    hu = np.full(space.shape, float(AIR_HU), np.float32)
    tissue = 4 * space.field(rng, 12)
    skin = space.column((0.0, 5.0), (74, 92)) + 2 * space.field(rng, 40)
    paint(hu, skin, FAT_HU + tissue)
    paint(hu, skin + rng.uniform(4, 9), MUSCLE_HU - 8 + tissue)
    paint(hu, both(np.abs(space.field(rng, 11)) * 11 - 1.6, skin + 8), FAT_HU + 15, 0.8)  # fat planes between muscles
    skull = both(skin + 10, -skin - 17, -space.between(-1000, 32))
    brain = both(skin + 15, -space.between(-1000, 38))
    paint(hu, brain, BRAIN_HU + tissue)
    for side in (-1, 1):
        paint(hu, space.ellipsoid((side * 24, -2, -8), (9, 22, 26)), FAT_HU + 20 + tissue)  # parapharyngeal
        paint(hu, space.ellipsoid((side * 36, -14, -4), (8, 17, 26)), MUSCLE_HU + tissue)  # pterygoid
        paint(hu, space.ellipsoid((side * 50, -22, -12), (8, 20, 30)), MUSCLE_HU + tissue)  # masseter
        paint(hu, space.ellipsoid((side * 50, 16, -18), (13, 15, 20)), FLUID_HU + tissue)  # parotid
        paint(hu, space.ellipsoid((side * 9, 19, -10), (7, 6, 34)), MUSCLE_HU + tissue)  # longus capitis
    bone = either(skull, *_bones(space))
    paint(hu, bone, CORTEX_HU + 15 * tissue)
    paint(hu, bone + 2.5, TRABECULAR_HU + 8 * tissue)
    paint(hu, space.column((0.0, 56.0), (8, 8)), FLUID_HU + 20)
    airway = _airway(space, rng)
    paint(hu, airway, AIR_HU)
    return hu, airway, bone


def _bones(space: Space) -> list[np.ndarray]:
    vertebrae = both(space.column((0.0, 36.0), (14, 10)), space.between(-1000, 2))
    arch = both(space.column((0.0, 56.0), (17, 15)), -space.column((0.0, 56.0), (10, 10)), space.between(-1000, 2))
    clivus = both(space.capsule((0, 32, 8), (0, 4, 36), 8), space.column((0.0, 20.0), (20, 40)))
    base = space.ellipsoid((0, -2, 36), (58, 40, 6))
    jaws = [space.capsule((s * 40, 2, 10), (s * 44, -20, -45), 5) for s in (-1, 1)]
    palate = space.ellipsoid((0, -46, -22), (22, 24, 4))
    return [vertebrae, arch, clivus, base, *jaws, palate]


def _airway(space: Space, rng: np.random.Generator) -> np.ndarray:
    """Nose, sinuses, nasopharynx and what follows below it."""
    wide, deep = rng.uniform(10, 14), rng.uniform(5, 8)
    nasopharynx_ = space.ellipsoid((0, -8, 4), (wide, deep, 20))
    pharynx = both(space.column((0.0, -8 - 0.12 * space.z), (wide - 3, deep)), space.between(-1000, 0))
    nose = both(space.ellipsoid((0, -44, 2), (13, 34, 18)), 1.2 - np.abs(space.x))
    sinuses = [space.ellipsoid((s * 28, -46, 2), (12, 16, 15)) for s in (-1, 1)]
    return either(nasopharynx_, pharynx, nose, *sinuses)
