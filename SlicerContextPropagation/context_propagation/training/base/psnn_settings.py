"""Settings of a PSNN training, checked against its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import is_orientation
from context_propagation.core.network.psnn import Factors, PsnnSettings

LARGEST = 1024
"""Voxels of a patch's side, and channels of a stage, that a folder may say."""


SMALLEST_SIDE = 4
"""Voxels along each side of the deepest feature map of a patch."""


@dataclass(frozen=True)
class PsnnTrainingSettings:
    """All that decides the weights, with the cases.

    Attributes:
        chain: Train the two-stream chain on CT and PET; else one network.
        channel_names: Of the image channels; "CT" by default, "CT" and "PET" for the chain.
        target_name: Of the label.
        label: Its value; None for the union of all labels.
        spacing_mm: Voxel size (D, H, W) of the network's grid; None for the median of the cases.
        patch: (D, H, W), voxels of the network's grid.
        channels: Feature channels of each stage, shallow to deep.
        epochs: Of each network.
        steps_per_epoch: Gradient steps.
        batch_size: Patches in a step; every second one is centred on the target.
        learning_rate: Of Adam at the start; it falls to 0 polynomially, step by step.
        level_decay: Weight of each level's Dice loss as a multiple of the next shallower level's.
        seed: Of weights and patches.
        orientation: Letters that images are reoriented to before the network sees them, or None.
    """

    chain: bool = False
    channel_names: tuple[str, ...] | None = None
    target_name: str = "target"
    label: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    patch: tuple[int, int, int] = (32, 64, 64)
    channels: tuple[int, ...] = (8, 16, 32, 64)
    epochs: int = 12
    steps_per_epoch: int = 25
    batch_size: int = 2
    learning_rate: float = 3e-3
    level_decay: float = 1.0
    seed: int = 0
    orientation: str | None = None

    def __post_init__(self) -> None:
        least = {"epochs": 1, "steps_per_epoch": 1, "batch_size": 1, "seed": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise UserInputError(f"--{name.replace('_', '-')} {getattr(self, name)}; give at least {smallest}")
        if not 0 < self.learning_rate < 1:
            raise UserInputError(f"The learning rate is {self.learning_rate}; give a number above 0 and below 1")
        if not 0 < self.level_decay <= 1:
            raise UserInputError(f"The level decay is {self.level_decay}; give a number above 0, at most 1")
        if self.chain and len(self.names) != 2:
            raise UserInputError(f"A chain reads two channels, CT and PET, not {', '.join(self.names)}")
        if not self.names or not all(self.names):
            raise UserInputError("The image has no channels; name at least one")
        if not self.target_name or self.target_name == "background":
            raise UserInputError(f"The label cannot be named '{self.target_name}'; choose another name")
        if self.label is not None and self.label < 1:
            raise UserInputError(f"The label is {self.label}; give a value above 0")
        for name, numbers in (("patch", self.patch), ("channels", self.channels)):
            if not numbers or not all(1 <= number <= LARGEST for number in numbers):
                raise UserInputError(f"--{name} {_words(numbers)}; give numbers from 1 to {LARGEST}")
        if self.orientation is not None and not is_orientation(self.orientation):
            raise UserInputError(f"--orientation {self.orientation}; give three letters such as LPS")
        if self.spacing_mm is not None and not all(0 < mm <= 100 for mm in self.spacing_mm):
            raise UserInputError(f"The spacing is {self.spacing_mm} mm; give three numbers above 0")

    @property
    def names(self) -> tuple[str, ...]:
        """The channels' names."""
        if self.channel_names is not None:
            return self.channel_names
        return ("CT", "PET") if self.chain else ("CT",)


def poolings_for(patch: Sequence[int], spacing_mm: Sequence[float], stages: int) -> tuple[Factors, ...]:
    """Where to pool: by 2 along the axes whose voxels are less than twice the smallest by then, where the patch allows.

    Args:
        patch: (D, H, W), voxels.
        spacing_mm: (D, H, W), mm.
        stages: Of the network.

    Raises:
        UserInputError: The patch is too small for so many stages, or not divided by the factors.
    """
    size, mm = list(patch), list(spacing_mm)
    found: list[Factors] = []
    for _ in range(stages - 1):
        roomy = [n // 2 >= SMALLEST_SIDE for n in size]
        if not any(roomy):
            raise UserInputError(
                f"--patch {_words(patch)} cannot be pooled {stages - 1} times; give a larger patch, or fewer --channels"
            )
        finest = min(m for m, room in zip(mm, roomy, strict=True) if room)
        d, h, w = (2 if room and m < 2 * finest else 1 for m, room in zip(mm, roomy, strict=True))
        found.append((d, h, w))
        size = [n // factor for n, factor in zip(size, found[-1], strict=True)]
        mm = [m * factor for m, factor in zip(mm, found[-1], strict=True)]
    strides = PsnnSettings(1, 2, (1,) * stages, tuple(found)).total_stride
    fitting = [-(-n // stride) * stride for n, stride in zip(patch, strides, strict=True)]
    if fitting != list(patch):
        raise UserInputError(
            f"--patch {_words(patch)} is not divided by the poolings' {_words(strides)}; give {_words(fitting)}"
        )
    return tuple(found)


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
