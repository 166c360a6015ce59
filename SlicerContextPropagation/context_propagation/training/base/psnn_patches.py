"""What a PSNN is trained on: labelled cases on the network's grid, and random patches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import axes_towards, turned_volume
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.optional_dependency import require
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_mask
from context_propagation.training.labelled_cases import LabelledCase

ANY_LABEL = tuple(range(1, 256))
"""The values of a union of labels."""


FEWEST_FOREGROUND_VOXELS = 10


LARGEST_TURN_DEGREES, LARGEST_ZOOM = 10.0, 0.1


@dataclass(frozen=True)
class ReadCase:
    """A case as its files have it, in the training's orientation.

    Attributes:
        name: The case.
        volume: The image.
        mask: bool `[K, J, I]`, the target.
    """

    name: str
    volume: SourceVolume
    mask: np.ndarray


def read_case(case: LabelledCase, target_name: str, label: int | None, orientation: str | None) -> ReadCase:
    """Read image and label of a case.

    Args:
        case: The files.
        target_name: The label's name, for messages.
        label: Its value; None for the union of all labels.
        orientation: Letters that the arrays are reoriented to, or None.

    Raises:
        UserInputError: A file cannot be read, or they do not fit together.
    """
    volume = read_source_volume(list(case.images))
    mask = read_mask(case.label, Wanted(target_name, ANY_LABEL if label is None else (label,)), volume)
    turn = axes_towards(volume, orientation)
    return ReadCase(case.name, turned_volume(volume, turn), turn.apply(mask))


def plan_preprocessing(
    cases: Sequence[ReadCase], channel_names: Sequence[str], spacing_mm: tuple[float, float, float] | None
) -> Preprocessing:
    """What the network shall want of an image.

    A channel named CT is clipped to the 0.5 and 99.5 percentiles of all cases' foreground voxels and scaled by their
    mean and deviation, as nnU-Net does; all others are z-scored image by image.

    Args:
        cases: The training cases.
        channel_names: Names of their channels.
        spacing_mm: Voxel size (D, H, W) of the network's grid; the median of the cases by default.

    Raises:
        UserInputError: There are hardly any foreground voxels.
    """
    foreground = sum(int(case.mask.sum()) for case in cases)
    if foreground < FEWEST_FOREGROUND_VOXELS:
        raise UserInputError(f"The labels of all cases hold {foreground} voxel(s) together; check the label's value")
    if spacing_mm is None:
        d, h, w = np.median([case.volume.spacing_kji_mm for case in cases], axis=0).round(6).tolist()
        spacing_mm = (d, h, w)
    channels = []
    for number, name in enumerate(channel_names):
        if name.upper() != "CT":
            channels.append(ChannelNormalisation(name, "z-score"))
            continue
        values = np.concatenate([case.volume.channels[number][case.mask] for case in cases]).astype(np.float64)
        low, high = np.percentile(values, (0.5, 99.5)).tolist()
        if not low < high:
            raise UserInputError(f"The CT is {low:g} in all foreground voxels; check the labels and the channels")
        channels.append(
            ChannelNormalisation(name, "clip and scale", low, high, float(values.mean()), float(values.std()))
        )
    return Preprocessing(spacing_mm, tuple(channels))


def mask_on_grid(mask: np.ndarray, grid: GridMap) -> torch.Tensor:
    """A mask in the network's axes on its grid, uint8 `[D, H, W]`: where it covers at least half by interpolation."""
    seen = np.ascontiguousarray(mask[slices_of(grid.crop)])
    values = torch.from_numpy(seen).to(torch.float32)[None, None]
    return (F.interpolate(values, grid.network_shape, mode="trilinear", align_corners=False)[0, 0] >= 0.5).to(
        torch.uint8
    )


class PatchSource:
    """Random patches of cases, each decided by its own seed: whatever was drawn before, it is the same.

    Of a batch, the even numbers are centred on a foreground voxel, the odd ones lie anywhere.

    Args:
        cases: Training cases.
        preprocessing: What the network wants of an image.
        patch: (D, H, W) of a patch.

    Source: Jin et al., section 3 (patches around the target and anywhere; turns in the axial plane).
    """

    def __init__(self, cases: Sequence[ReadCase], preprocessing: Preprocessing, patch: tuple[int, int, int]) -> None:
        transforms = require("monai.transforms", extra="monai")
        keys = ("image", "label")
        prepare = transforms.Compose(
            [
                transforms.SpatialPadd(keys, patch),
                transforms.FgBgToIndicesd("label", fg_postfix="_fg", bg_postfix="_bg"),
            ]
        )
        self._cases: list[dict[str, Any]] = []
        for case in cases:
            prepared = preprocessing.prepare(case.volume)
            label = mask_on_grid(prepared.axes.apply(case.mask), prepared.grid)[None]
            self._cases.append(prepare({"image": prepared.network_input, "label": label}))
        self._with_foreground = [number for number, case in enumerate(self._cases) if len(case["label_fg"])]
        if not self._with_foreground:
            raise UserInputError("No label is left at the network's voxel size; give a smaller --spacing")
        centred = transforms.RandCropByPosNegLabeld(
            keys, "label", patch, pos=1, neg=0, num_samples=1, fg_indices_key="label_fg", bg_indices_key="label_bg"
        )
        anywhere = transforms.RandSpatialCropd(keys, patch, random_size=False)
        self._centred, self._anywhere = (
            transforms.Compose([crop, *_augmentation(transforms, keys)]) for crop in (centred, anywhere)
        )

    def batch(self, seed: Sequence[int], size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float32 `[N, C, D, H, W]` and labels float32 `[N, 1, D, H, W]`, 0 or 1.

        Args:
            seed: Numbers that decide the batch.
            size: Patches in it.
        """
        patches = [self._patch([*seed, number], centred=number % 2 == 0) for number in range(size)]
        images, labels = (torch.stack([patch[key] for patch in patches]) for key in ("image", "label"))
        return images, labels

    def _patch(self, seed: Sequence[int], centred: bool) -> dict[str, torch.Tensor]:
        chosen, drawn = (int(n) for n in np.random.SeedSequence(list(seed)).generate_state(2))
        numbers = self._with_foreground if centred else range(len(self._cases))
        transform = self._centred if centred else self._anywhere
        transform.set_random_state(seed=drawn)
        found = transform(self._cases[numbers[chosen % len(numbers)]])
        patch = found[0] if isinstance(found, list) else found
        return {key: patch[key].as_tensor().to(torch.float32) for key in ("image", "label")}


def _augmentation(transforms: Any, keys: tuple[str, str]) -> list[Any]:
    return [
        transforms.RandFlipd(keys, prob=0.5, spatial_axis=2),
        transforms.RandAffined(
            keys,
            prob=0.5,
            rotate_range=(radians(LARGEST_TURN_DEGREES), 0.0, 0.0),
            scale_range=(LARGEST_ZOOM,) * 3,
            mode=("bilinear", "nearest"),
            padding_mode="border",
        ),
        transforms.RandGaussianNoised("image", prob=0.3, std=0.1),
        transforms.RandScaleIntensityd("image", factors=0.15, prob=0.3, channel_wise=True),
        transforms.RandShiftIntensityd("image", offsets=0.1, prob=0.3, channel_wise=True),
    ]
