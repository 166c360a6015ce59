"""A thorax with an oesophageal tumour: a long thickening of the wall, and a PET that does not match it exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from context_propagation.core.phantom.anatomy import (
    AIR_HU,
    CORTEX_HU,
    FAT_HU,
    FLUID_HU,
    LUNG_HU,
    MUSCLE_HU,
    TRABECULAR_HU,
    Anatomy,
    Difficulty,
    Style,
    paint,
    share,
)
from context_propagation.core.phantom.space import Space, both, either

WALL_HU = MUSCLE_HU - 14


BLOOD_HU = 46


FURTHEST_TIP_MM = 14.0
"""How far beyond its thickening a tumour creeps along the wall, where the image does not show it."""


@dataclass(frozen=True)
class _Tube:
    """The oesophagus: where its axis is at every height, and how thick it is."""

    x: np.ndarray
    y: np.ndarray
    outer_mm: np.ndarray
    lumen_mm: float


@dataclass(frozen=True)
class _Tumour:
    """Of the thickening: middle, half length, thickness, and the side to which it grows.

    `thickness` is mm at every angle around the tube, before it tapers towards its ends.
    """

    middle_mm: float
    half_mm: float
    thickness: np.ndarray
    tip_mm: float

    def distance(self, space: Space, tube: _Tube, beyond_mm: float) -> np.ndarray:
        """To the wall with its thickening, so far beyond its ends."""
        ends = np.abs(space.z - self.middle_mm) - self.half_mm - beyond_mm
        taper = np.clip(1.15 - (np.abs(space.z - self.middle_mm) / self.half_mm) ** 2, 0, 1)
        return both(space.column((tube.x, tube.y), (1.0, 1.0)) - tube.outer_mm + 1 - self.thickness * taper, ends)


def oesophagus(space: Space, rng: np.random.Generator, difficulty: Difficulty) -> Anatomy:
    """One case at the sample points, the tumour near their centre.

    Args:
        space: The sample points.
        rng: Draws the patient, the tumour, the style, and how PET and CT differ.
        difficulty: What makes it hard.
    """
    space = space.moved(*rng.normal(0, 3, 3).astype(np.float32))
    tube = _tube(space, rng)
    hu, suv, trachea = _thorax(space, rng)
    _paint_tube(space, hu, tube)
    tumour = _tumour(space, rng, tube)
    style = Style.drawn(rng, difficulty)
    contrast, visible = rng.uniform(*difficulty.contrast_hu), rng.uniform(*difficulty.visible_share)
    rough = 0.9 * space.field(rng, 8)
    shown = tumour.distance(space, tube, (2 * visible - 1) * tumour.tip_mm / 2) + rough
    lumen = space.column((tube.x, tube.y), (1.0, 1.0)) + 1 - tube.lumen_mm
    paint(hu, shown, WALL_HU + contrast + 4 * space.field(rng, 5))
    paint(hu, lumen, AIR_HU, 0.8)
    paint(hu, trachea, AIR_HU)
    hand = 0.5 * space.field(rng, 6)
    followed = (2 * style.extent - 1) * tumour.tip_mm
    gtv = both(tumour.distance(space, tube, followed) + rough - style.offset_mm + hand, -trachea)
    if not style.generous:
        gtv = both(gtv, -lumen)
    _paint_uptake(space, rng, suv, tube, tumour)
    return Anatomy(hu, gtv < 0, style, suv)


def _tube(space: Space, rng: np.random.Generator) -> _Tube:
    bend, phase = rng.uniform(2, 6), rng.uniform(0, 2 * np.pi)
    x = 4 + bend * np.sin(space.z / 45 + phase) - 0.03 * space.z
    y = 26 + 0.5 * bend * np.cos(space.z / 60 + phase) - 0.03 * space.z
    outer = rng.uniform(6, 8) + 0.7 * np.sin(space.z / 14 + phase)
    return _Tube(x, y, outer, rng.uniform(1.5, 3.5))


def _paint_tube(space: Space, hu: np.ndarray, tube: _Tube) -> None:
    paint(hu, space.column((tube.x, tube.y), (1.0, 1.0)) + 1 - tube.outer_mm, WALL_HU)


def _tumour(space: Space, rng: np.random.Generator, tube: _Tube) -> _Tumour:
    """Thicker on one side, and uneven along the tube."""
    angle = np.arctan2(space.y - tube.y, space.x - tube.x)
    uneven = 1 + 0.45 * np.cos(angle - rng.uniform(0, 2 * np.pi)) + 0.2 * space.field(rng, 14)
    return _Tumour(
        rng.uniform(-45, 45), rng.uniform(20, 42), rng.uniform(5, 9) * uneven, rng.uniform(0.5, 1) * FURTHEST_TIP_MM
    )


def _thorax(space: Space, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU and SUV without oesophagus, and the distance to trachea and bronchi."""
    hu = np.full(space.shape, float(AIR_HU), np.float32)
    suv = np.zeros(space.shape, np.float32)
    tissue = 4 * space.field(rng, 12)
    skin = space.column((0.0, 4.0), (rng.uniform(112, 125), rng.uniform(84, 94))) + 2 * space.field(rng, 60)
    ribs = both(skin + 16, -skin - 24, np.cos(space.z / 4.5 + 0.05 * space.y) * 6)
    paint(hu, skin, FAT_HU + tissue)
    paint(hu, skin + 10, MUSCLE_HU + tissue)
    paint(hu, skin + 20, FAT_HU + 15 + tissue)
    paint(suv, skin, 0.5)
    paint(hu, ribs, CORTEX_HU / 2)
    vessels = 120 * np.maximum(space.field(rng, 6) - 1, 0)
    for side in (-1, 1):
        lung = space.ellipsoid((side * 62, 2, 10), (42, 66, 190))
        paint(hu, lung, LUNG_HU + 3 * tissue + vessels)
        paint(suv, lung, 0.35)
    heart = space.ellipsoid((16, -22, -75), (50, 42, 70))
    aorta = space.column((24 - 0.03 * space.z, 44 - 0.05 * space.z), (12, 12))
    great = both(space.ellipsoid((2, -18, 70), (32, 17, 60)), space.between(-10, 1000))
    for vessel in (heart, aorta, great):
        paint(hu, vessel, BLOOD_HU + tissue)
        paint(suv, vessel, 1.7)
    paint(suv, both(heart, -heart - 12), rng.uniform(1.5, 6))  # the heart's muscle
    liver = both(space.ellipsoid((-45, -5, -135), (75, 75, 50)), skin + 20)
    paint(hu, liver, MUSCLE_HU + 2 + tissue)
    paint(suv, liver, 2.3)
    vertebrae = either(space.column((0.0, 62.0), (17, 14)), space.column((0.0, 84.0), (16, 12)))
    paint(hu, vertebrae, CORTEX_HU / 1.5 + 10 * tissue)
    paint(hu, vertebrae + 2.5, TRABECULAR_HU + 8 * tissue)
    paint(hu, space.column((0.0, 84.0), (9, 7)), FLUID_HU + 20)
    paint(suv, vertebrae, 1.2)
    trachea = _trachea(space)
    paint(hu, trachea - 1.5, WALL_HU + tissue)
    paint(hu, trachea, AIR_HU)
    return hu, suv, trachea


def _trachea(space: Space) -> np.ndarray:
    windpipe = both(space.column((0.0, 8 - 0.05 * space.z), (9, 8)), space.between(28, 1000))
    bronchi = [space.capsule((side * 2, 7, 30), (side * 42, 4, -8), 6) for side in (-1, 1)]
    return either(windpipe, *bronchi)


def _paint_uptake(space: Space, rng: np.random.Generator, suv: np.ndarray, tube: _Tube, tumour: _Tumour) -> None:
    """The tumour where it was at another moment of breathing, with cold and inflamed parts of its own."""
    shift = rng.normal(0, (1.5, 1.5, 3.0), 3)
    bent = (1.2 * space.field(rng, 40) for _ in range(3))
    seen = space.moved(*(s + b for s, b in zip(shift, bent, strict=True)))
    hottest, uneven = rng.uniform(4, 14), 0.35 * space.field(rng, 10)
    inflamed = share(tumour.distance(seen, tube, rng.uniform(0, 1.2 * FURTHEST_TIP_MM)) - 1.5)
    suv += (1.6 - suv) * share(seen.column((tube.x, tube.y), (1.0, 1.0)) + 1 - tube.outer_mm)
    suv += (0.35 * hottest - suv) * inflamed * (suv < 0.35 * hottest)
    hot = share(tumour.distance(seen, tube, rng.uniform(-0.6, 0.3) * FURTHEST_TIP_MM) + 1)
    suv += (np.maximum(hottest * (1 + uneven), 1.5) - suv) * hot
