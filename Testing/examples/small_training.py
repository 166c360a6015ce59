"""A fusion network's training small enough for a test: examples of noise, on a small real U-Net."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from context_propagation.core.image.boxes import whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.training.fusion.fusion_example import FusionExample
from context_propagation.training.fusion.fusion_training import TrainingSettings, train_fusion

SHAPE = (16, 16, 16)
NEAR = slice(6, 11)
ARCHITECTURE = FusionSettings("adaptive", 8, 0.5)


def far_of(*near):
    """One mask per edit, without its near slices."""
    far = torch.ones(len(near), *SHAPE, dtype=torch.bool)
    for mask, slices in zip(far, near, strict=True):
        mask[slices] = False
    return far


def ball(radius):
    return torch.from_numpy(sum((g - 8) ** 2 for g in np.indices(SHAPE)) <= radius**2)


def example(model, seed=0, near=(NEAR,), hidden_truth=0, radius=5, axes=None):
    """A whole window of noise, its f' and edits as random as it."""
    generator = torch.Generator().manual_seed(seed)
    features = model.splits[0].encode(torch.randn(1, 1, *SHAPE, generator=generator), 2)
    edits, size = len(near), features.f.shape[2:]
    axes = axes or (0,) * edits
    return FusionExample(
        FusionInputs(
            f=features.f,
            f_updated=features.f + 0.3 * torch.randn(edits, *features.f.shape[1:], generator=generator),
            edit_maps=torch.rand(edits, 2, *size, generator=generator),
            descriptions=torch.randn(edits, 8, generator=generator),
            prototypes=torch.randn(edits, 2, features.f.shape[1], generator=generator),
        ),
        hidden_truth=torch.rand(hidden_truth, generator=generator),
        decoder=features,
        f_box=whole(size),
        truth=ball(radius),
        far=torch.stack([far.movedim(0, axis) for far, axis in zip(far_of(*near), axes, strict=True)]),
        axes=axes,
        grid=GridMap(whole(SHAPE), SHAPE),
        origin=(0, 0, 0),
        image_box=whole(SHAPE),
    )


def readers(*examples):
    return [partial(lambda item: item, item) for item in examples]


def train(model, training, validation=(), architecture=ARCHITECTURE, checkpoint=None, on_epoch=None, **settings):
    collected = [] if on_epoch is None else on_epoch
    return train_fusion(
        model, model.splits[0], architecture, TrainingSettings(**{"epochs": 2, **settings}), training, validation,
        checkpoint, collected.append if isinstance(collected, list) else collected,
    )  # fmt: skip


def weights_of(trained):
    return trained.network.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def logit_of(model, item, fused):
    """The target's logit less the background's, `[E, 16, 16, 16]`."""
    with torch.no_grad():
        logits = model.splits[0].decode(item.decoder, fused, True)
    return (logits[:, 1] - logits[:, 0]).numpy()


def agreeing(model, item):
    """An example whose truth is what the untouched features say: an untouched DSC of 1."""
    return replace(item, truth=model.target_margin([item.decode(model.splits[0], item.inputs.f).float()])[0] > 0)
