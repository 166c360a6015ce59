"""Readers: what one drawn slice teaches to see everywhere, as weighted sums of logit, features and image.

Each is fitted to the voxels of the drawn slices alone and read at every other voxel; so their number never depends on
the model's channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from context_propagation.core.propagation.drawn_samples import QUARTERS, DrawnSamples
from context_propagation.core.propagation.slice_probe import fit_probe, held_out_gain

PROBES: tuple[tuple[bool, bool, bool, float], ...] = (
    (True, False, True, 1.0),
    (True, True, True, 10.0),
    (True, True, True, 1.0),
    (False, False, True, 1.0),
)
"""Whether each reads the logit, the features and the image, and how strongly it is held near the logit (or zero)."""


CONTRASTS = 3
"""Further readers: along the features' difference between inside and outside, missed and outside, wrong and inside."""


READERS = len(PROBES) + CONTRASTS


FEWEST = 4
"""Voxels of which a mean is taken at all."""


@dataclass(frozen=True)
class Readers:
    """Weights of each reader, in the order of `PROBES`, then the contrasts.

    Attributes:
        logit: `[READERS]`.
        features: `[READERS, C']` of each fold; their sums over the folds count.
        image: `[READERS, 3 I]`.
        threshold: `[READERS]`, is added.
        gains: For each probe, see `held_out_gain`.
    """

    logit: torch.Tensor
    features: tuple[torch.Tensor, ...]
    image: torch.Tensor
    threshold: torch.Tensor
    gains: tuple[float, ...]


def fit_readers(samples: DrawnSamples) -> Readers:
    """Fit all readers to the drawn slices."""
    blocks = _Blocks.of(samples)
    probes = [_fit(blocks, samples, *probe) for probe in PROBES]
    contrasts = _contrasts(blocks, samples)
    weights = torch.stack([*(weights for weights, _ in probes), *contrasts])
    return blocks.readers(weights, tuple(gain for _, gain in probes))


@dataclass(frozen=True)
class _Blocks:
    """The samples in three blocks (logit, features of all folds, image), each of about unit variance in all.

    Attributes:
        values: float64 `[N, D + 1]`, the last column 1.
        middle: `[D]`, taken off.
        unit: `[D]`, divided by.
        ends: Where the blocks end.
        folds: Channels of each fold.
    """

    values: torch.Tensor
    middle: torch.Tensor
    unit: torch.Tensor
    ends: tuple[int, int]
    folds: tuple[int, ...]

    @classmethod
    def of(cls, samples: DrawnSamples) -> _Blocks:
        raw = torch.cat([samples.logit[:, None], *samples.features, samples.image], 1).double().cpu()
        sizes = [1, sum(f.shape[1] for f in samples.features), samples.image.shape[1]]
        counts = torch.tensor([float(n) for n in sizes for _ in range(n)], dtype=torch.float64)
        deviation = raw.std(0, correction=0)
        unit = torch.where(deviation > 1e-6, deviation * counts.sqrt(), torch.inf)
        values = torch.cat([(raw - raw.mean(0)) / unit, torch.ones(len(raw), 1, dtype=torch.float64)], 1)
        return cls(values, raw.mean(0), unit, (1, 1 + sizes[1]), tuple(f.shape[1] for f in samples.features))

    def columns(self, logit: bool, features: bool, image: bool) -> torch.Tensor:
        """Bool `[D + 1]`: the columns of some blocks, and the last."""
        first, second = self.ends
        chosen = torch.ones(self.values.shape[1], dtype=torch.bool)
        chosen[:first], chosen[first:second], chosen[second:-1] = logit, features, image
        return chosen

    def readers(self, weights: torch.Tensor, gains: tuple[float, ...]) -> Readers:
        """From weights of the values, `[READERS, D + 1]`, to weights of what the values were made of."""
        of_raw = weights[:, :-1] / self.unit
        threshold = weights[:, -1] - of_raw @ self.middle
        logit, features, image = torch.tensor_split(of_raw.float(), self.ends, 1)
        return Readers(logit[:, 0], torch.split(features, list(self.folds), 1), image, threshold.float(), gains)


def _fit(
    blocks: _Blocks, samples: DrawnSamples, logit: bool, features: bool, image: bool, strength: float
) -> tuple[torch.Tensor, float]:
    """Weights of the values, `[D + 1]`, and the gain on quarters that the fit has not seen."""
    chosen = blocks.columns(logit, features, image)
    drawn, quarter = samples.drawn.double().cpu(), samples.quarter.cpu()
    start = torch.zeros(blocks.values.shape[1], dtype=torch.float64)
    if logit:  # the logit itself
        start[0] = blocks.unit[0] if torch.isfinite(blocks.unit[0]) else 0.0
        start[-1] = blocks.middle[0]
    unseen = quarter[None] == torch.arange(QUARTERS)[:, None]
    counted = torch.cat([torch.ones_like(unseen[:1]), ~unseen]).double()
    fitted = fit_probe(blocks.values[:, chosen], drawn, start[chosen], strength, counted)
    weights = torch.zeros_like(start)
    weights[chosen] = fitted[0]
    held_out = (fitted[1:] @ blocks.values[:, chosen].T * unseen).sum(0)
    return weights, held_out_gain(held_out, drawn, samples.logit.double().cpu())


def _contrasts(blocks: _Blocks, samples: DrawnSamples) -> list[torch.Tensor]:
    """Along the features: 1 at the mean of the first group, -1 at that of the second; zeros where one is too small."""
    drawn, predicted = samples.drawn.cpu() > 0, samples.predicted.cpu() > 0
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]] = (
        (drawn, ~drawn),
        (drawn & ~predicted, ~drawn & ~predicted),
        (predicted & ~drawn, predicted & drawn),
    )
    chosen = blocks.columns(False, True, False)
    chosen[-1] = False
    return [_contrast(blocks.values, chosen, first, second) for first, second in pairs]


def _contrast(values: torch.Tensor, chosen: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    weights = torch.zeros(values.shape[1], dtype=torch.float64)
    if min(int(first.sum()), int(second.sum())) < FEWEST:
        return weights
    one, other = (values[group][:, chosen].mean(0) for group in (first, second))
    between = one - other
    length = between @ between
    if length > 1e-12:
        weights[chosen] = 2 * between / length
        weights[-1] = -(one + other) @ between / length
    return weights
