"""Any frozen 3D network as a `SegmentationModel`: the way in for a network that comes in no known folder."""

from __future__ import annotations

import torch
from torch import nn

from context_propagation.core.device import select_device
from context_propagation.core.model.loss import Loss
from context_propagation.core.model.network_model import NetworkModel, Output
from context_propagation.core.model.preprocessing import Preprocessing
from context_propagation.core.network.callable_split import CallableSplit, Decode, Encode
from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.network.traced_split import TracedSplit
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.sound_weights import refuse_unsound_weights


def from_network(
    network: nn.Module,
    preprocessing: Preprocessing,
    output: Output,
    patch_size: tuple[int, int, int],
    *,
    layer: str | None = None,
    callables: tuple[Encode, Decode] | None = None,
    device: str = "auto",
    orientation: str | None = None,
    loss: Loss = "dice and cross-entropy",
) -> NetworkModel:
    """Build a model from a network. Its weights are shared; the network is moved to the device and not changed.

    Args:
        network: In evaluation mode, from `[1, C, D, H, W]` to logits of the same size.
        preprocessing: What it wants of an image.
        output: What its output channels mean.
        patch_size: (D, H, W) that it was trained on; a multiple of its strides.
        layer: Name of the module whose output edits update, as in `network.named_modules()`; without it the decoder
            levels 1, 2, 3 are found from the graph.
        callables: encode and decode for a network that cannot be traced; `network` then only holds the weights.
        device: "auto", "cpu", "cuda" or "mps".
        orientation: Letters such as "LPS" that i, j, k are reoriented to first, where the training had one.
        loss: The loss that it was trained with.

    Raises:
        UserInputError: Its weights are not finite, or it cannot be split this way; the message names another one.
    """
    chosen = select_device(device)
    refuse_unsound_weights(type(network).__name__, network.state_dict(), "load trained weights")
    network.to(chosen)
    example = torch.rand((1, len(preprocessing.channels), *patch_size), generator=torch.Generator().manual_seed(0)).to(
        chosen
    )
    split: SplitNetwork
    split = TracedSplit(network, example, layer) if callables is None else CallableSplit(*callables, example)
    described = repr((type(network).__name__, preprocessing, output, patch_size, layer, orientation)).encode()
    return NetworkModel(
        [split],
        preprocessing,
        output,
        patch_size=patch_size,
        content_hash=content_hash({"network": described}, [network.state_dict()]),
        device=chosen,
        orientation=orientation,
        loss=loss,
    )
