"""What the fusion network learns from: one cached window, several simulated edits of it, and the ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, box_of, slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.network.split_network import CachedFeatures, SplitNetwork
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.storage.whole_file import whole_file

FORMAT = "context-propagation fusion example 5"


@dataclass(frozen=True)
class FusionExample:
    """One window of one case. Boxes and axes are in network axis order.

    Attributes:
        inputs: What the fusion network takes of each simulated edit, on the whole window.
        hidden_truth: `[T]`, what an oracle is given; T is 0 where there is none.
        decoder: What the decode of `image_box` needs, cut to it: skips, norm statistics.
        f_box: The box of f that this decode reads.
        truth: bool `[A, B, C]`, the ground truth on the image voxels of `image_box`.
        far: bool `[E, A, B, C]`, broadcastable: where the loss counts, the slices outside N(s).
        axes: Each edit's slices lie across this axis.
        grid: The map between image voxels and the network's grid.
        origin: Network voxel at which its logits start.
        image_box: The image voxels that are decoded.
    """

    inputs: FusionInputs
    hidden_truth: torch.Tensor
    decoder: CachedFeatures
    f_box: Box
    truth: torch.Tensor
    far: torch.Tensor
    axes: tuple[int, ...]
    grid: GridMap
    origin: tuple[int, int, int]
    image_box: Box

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> FusionExample:
        """A copy on a device."""
        cut = self.decoder
        decoder = replace(
            cut,
            f=cut.f.to(device),
            skips=tuple(skip.to(device) for skip in cut.skips),
            norm_statistics=tuple((mean.to(device), variance.to(device)) for mean, variance in cut.norm_statistics),
            logits=cut.logits.to(device),
        )
        tensors = {name: getattr(self, name).to(device) for name in _TENSORS}
        return replace(self, inputs=self.inputs.to(device), decoder=decoder, **tensors)

    def decode(self, split: SplitNetwork, fused: torch.Tensor) -> torch.Tensor:
        """Logits `[E, C, A, B, C]` on the image voxels of `image_box` from fused maps `[E, C', D', H', W']`."""
        edits = fused.shape[0]
        skips = tuple(skip.expand(edits, -1, -1, -1, -1) for skip in self.decoder.skips)
        piece = fused[(slice(None), slice(None), *slices_of(self.f_box))]
        logits = split.decode(replace(self.decoder, skips=skips), piece, True)
        return self.grid.to_image(logits, self.origin, self.image_box)

    def untouched_logits(self) -> torch.Tensor:
        """`[1, C, A, B, C]` on the same voxels, from the untouched f."""
        return self.grid.to_image(self.decoder.logits, self.origin, self.image_box)


_TENSORS = ("hidden_truth", "truth", "far")


def save_example(example: FusionExample, path: Path) -> None:
    """Write to a safetensors file, complete or not at all.

    Raises:
        UserInputError: The file cannot be written.
    """
    decoder = example.decoder
    tensors = {**example.inputs.tensors(), **{name: getattr(example, name) for name in _TENSORS}}
    tensors |= {"decoder.f": decoder.f, "decoder.logits": decoder.logits}
    tensors |= {f"skip.{n}": skip for n, skip in enumerate(decoder.skips)}
    for n, (mean, variance) in enumerate(decoder.norm_statistics):
        tensors |= {f"norm.{n}.mean": mean, f"norm.{n}.variance": variance}
    header = {
        "format": FORMAT,
        "level": decoder.level,
        "skips": len(decoder.skips),
        "norms": len(decoder.norm_statistics),
        "grid": [example.grid.crop, example.grid.network_shape, example.grid.linear],
        "axes": example.axes,
        "origin": example.origin,
        "f_box": example.f_box,
        "image_box": example.image_box,
    }
    failure = require("safetensors", extra="nnunet").SafetensorError
    try:
        save = require("safetensors.torch", extra="nnunet").save_file
        contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        with whole_file(path) as partial:
            save(contiguous, partial, metadata={"example": json.dumps(header)})
    except (OSError, failure) as error:
        raise UserInputError(f"Cannot write '{path}': {error}; choose another place") from error


def load_example(path: Path) -> FusionExample:
    """Read what `save_example` wrote.

    Raises:
        UserInputError: The file is damaged or from another version.
    """
    safetensors = require("safetensors", extra="nnunet")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {}).get("example", "{}")))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, safetensors.SafetensorError, ValueError, TypeError) as error:
        raise UserInputError(f"'{path}' is not a cached example ({error}); delete it and run again") from error
    if header.get("format") != FORMAT:
        raise UserInputError(f"'{path}' has format {header.get('format')!r}, not {FORMAT!r}; delete it and run again")
    try:
        return _example(header, tensors)
    except KeyError as error:
        raise UserInputError(f"'{path}' is damaged: it lacks {error}; delete it and run again") from error


def _example(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> FusionExample:
    decoder = CachedFeatures(
        header["level"],
        tensors["decoder.f"],
        tuple(tensors[f"skip.{n}"] for n in range(header["skips"])),
        tuple((tensors[f"norm.{n}.mean"], tensors[f"norm.{n}.variance"]) for n in range(header["norms"])),
        tensors["decoder.logits"],
    )
    crop, shape, linear = header["grid"]
    grid = GridMap(_box(crop), _three(shape), None if linear is None else _lines(linear))
    return FusionExample(
        FusionInputs(**{item.name: tensors[item.name] for item in fields(FusionInputs)}),
        **{name: tensors[name] for name in _TENSORS},
        axes=tuple(int(axis) for axis in header["axes"]),
        decoder=decoder,
        f_box=_box(header["f_box"]),
        grid=grid,
        origin=_three(header["origin"]),
        image_box=_box(header["image_box"]),
    )


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third


def _lines(saved: Sequence[Sequence[float]]) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    first, second, third = ((float(start), float(step)) for start, step in saved)
    return first, second, third


def _box(saved: Sequence[Sequence[int]]) -> Box:
    return box_of([(int(start), int(stop)) for start, stop in saved])
