"""Seeded phantoms: a CT, a CT and a PET, or an MR, with a gross tumour volume (GTV) and the style of its observer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.phantom.anatomy import DIFFICULTIES, Anatomy, Difficulty, DifficultyName
from context_propagation.core.phantom.nasopharynx import nasopharynx
from context_propagation.core.phantom.oesophagus import oesophagus
from context_propagation.core.phantom.organ import organ
from context_propagation.core.phantom.space import Space, Triple

Kind = Literal["nasopharynx", "oesophagus", "organ"]


ANATOMIES: dict[Kind, Callable[[Space, np.random.Generator, Difficulty], Anatomy]] = {
    "nasopharynx": nasopharynx,
    "oesophagus": oesophagus,
    "organ": organ,
}


SPACINGS_IJK_MM: dict[Kind, Triple] = {
    "nasopharynx": (2.0, 2.0, 3.0),
    "oesophagus": (2.5, 2.5, 4.0),
    "organ": (2.0, 2.0, 2.0),
}


FIELD_OF_VIEW_MM: dict[Kind, Triple] = {
    "nasopharynx": (176, 176, 192),
    "oesophagus": (230, 190, 256),
    "organ": (96, 96, 96),
}
"""Lengths along i, j, k."""


SAMPLES_PER_SLICE = 2


CT_BLUR_MM, PET_BLUR_MM = 0.9, 2.8
"""Standard deviation of the scanners' point spread; a PET's full width at half maximum is about 6.5 mm."""


PET_NOISE = 0.3
"""Of the SUV, before the blur of reconstruction."""


HU_RANGE = (-1024, 3071)


MOST_VOXELS = 2**24


GENERATOR = 1
"""Counts what changes the cases of given settings."""


@dataclass(frozen=True)
class PhantomSettings:
    """All that decides a case, bit for bit.

    Attributes:
        kind: "nasopharynx": CT; "oesophagus": CT and PET; "organ": a small MR volume.
        seed: Of the series.
        number: Of the case in the series, from 0.
        difficulty: "lower", "middle" or "higher".
        spacing_ijk_mm: Voxel size; None for the kind's default.
    """

    kind: Kind
    seed: int = 0
    number: int = 0
    difficulty: DifficultyName = "middle"
    spacing_ijk_mm: Triple | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, get_args(Kind)),
            ("difficulty", self.difficulty, get_args(DifficultyName)),
        ):
            if value not in known:
                raise UserInputError(f"Unknown {name} '{value}' of a phantom; choose {', '.join(known)}")
        if self.seed < 0 or self.number < 0:
            raise UserInputError(f"Phantom seed {self.seed}, number {self.number}: give numbers from 0")
        if not all(0.3 <= mm <= 10 for mm in self.spacing) or np.prod(self.size_ijk, dtype=float) > MOST_VOXELS:
            raise UserInputError(f"Phantom voxels of {self.spacing} mm; give 0.3 to 10 mm, and a volume that fits")

    @property
    def spacing(self) -> Triple:
        """Voxel size along i, j, k in mm."""
        return self.spacing_ijk_mm or SPACINGS_IJK_MM[self.kind]

    @property
    def size_ijk(self) -> tuple[int, int, int]:
        """Voxels that cover the field of view."""
        i, j, k = (max(2, round(mm / s)) for mm, s in zip(FIELD_OF_VIEW_MM[self.kind], self.spacing, strict=True))
        return i, j, k

    @property
    def name(self) -> str:
        """Of the case's files."""
        return f"{self.kind}_{self.number:03d}"


@dataclass(frozen=True)
class Phantom:
    """A case; all arrays on one grid.

    Attributes:
        ct: int16 `[K, J, I]`, HU; of an MR its signal.
        pet: float32 `[K, J, I]`, SUV, on the CT's grid; None for a kind without PET.
        gtv: Bool `[K, J, I]`.
        hidden_truth: The observer's style, each number -1 to 1; see `Style.numbers`.
        spacing_ijk_mm: Voxel size; the direction is the identity (LPS).
    """

    ct: np.ndarray
    pet: np.ndarray | None
    gtv: np.ndarray
    hidden_truth: tuple[float, ...]
    spacing_ijk_mm: Triple

    def image(self, array: np.ndarray) -> sitk.Image:
        """One of the arrays with its place in the patient; a mask becomes uint8."""
        image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
        image.SetSpacing(self.spacing_ijk_mm)
        image.SetOrigin([-(n - 1) / 2 * mm for n, mm in zip(image.GetSize(), self.spacing_ijk_mm, strict=True)])
        return image


def make_phantom(settings: PhantomSettings) -> Phantom:
    """Generate a case.

    The anatomy is drawn first and does not depend on the grid; noise does.

    Raises:
        UserInputError: See `PhantomSettings`.
    """
    difficulty = DIFFICULTIES[settings.difficulty]
    seeds = [settings.seed, settings.number, *settings.kind.encode()]
    drawn, noise = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seeds).spawn(2))
    space = Space.of_grid(settings.size_ijk, settings.spacing, SAMPLES_PER_SLICE)
    anatomy = ANATOMIES[settings.kind](space, drawn, difficulty)
    gtv = _per_slice(anatomy.gtv.astype(np.float32)) >= 0.5
    if not gtv.any():
        raise UserInputError(f"Phantom {settings.name} of seed {settings.seed} has voxels too large for its tumour")
    blurred = _blurred(_per_slice(anatomy.hu), settings.spacing, CT_BLUR_MM)
    ct = np.clip(np.rint(blurred + _ct_noise(noise, blurred, difficulty)), *HU_RANGE).astype(np.int16)
    pet = None if anatomy.suv is None else _pet(_per_slice(anatomy.suv), noise, settings.spacing)
    return Phantom(ct, pet, gtv, anatomy.style.numbers(difficulty), settings.spacing)


def _per_slice(samples: np.ndarray) -> np.ndarray:
    """The mean over the thickness of each slice: partial volume along z."""
    k, j, i = samples.shape
    return np.asarray(samples.reshape(k // SAMPLES_PER_SLICE, SAMPLES_PER_SLICE, j, i).mean(1))


def _blurred(array: np.ndarray, spacing_ijk_mm: Triple, sigma_mm: float) -> np.ndarray:
    """In plane, where a scanner blurs; the slice's thickness is the blur along z."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_ijk_mm)
    for axis in range(2):
        image = sitk.RecursiveGaussian(image, sigma=sigma_mm, direction=axis)
    return np.asarray(sitk.GetArrayFromImage(image))


def _ct_noise(rng: np.random.Generator, hu: np.ndarray, difficulty: Difficulty) -> np.ndarray:
    """Correlated between neighbours as after reconstruction, and stronger behind much tissue."""
    white = rng.standard_normal(hu.shape, np.float32)
    smooth = (white + np.roll(white, 1, 1) + np.roll(white, 1, 2) + np.roll(white, (1, 1), (1, 2))) / 2
    dense = 0.7 + 0.6 * (hu > -400).mean((1, 2), keepdims=True)
    return np.asarray(difficulty.noise_hu * dense * smooth)


def _pet(suv: np.ndarray, rng: np.random.Generator, spacing_ijk_mm: Triple) -> np.ndarray:
    noisy = suv * (1 + PET_NOISE * rng.standard_normal(suv.shape, np.float32))
    image = sitk.GetImageFromArray(noisy)
    image.SetSpacing(spacing_ijk_mm)
    for axis in range(3):
        image = sitk.RecursiveGaussian(image, sigma=PET_BLUR_MM, direction=axis)
    return np.asarray(np.round(np.maximum(sitk.GetArrayFromImage(image), 0), 3).astype(np.float32))
