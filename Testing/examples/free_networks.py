"""Small networks with seeded random weights, such as researchers bring; by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, SegResNetDS, UNet
from torch import nn

NNUNET = {
    "n_stages": 4,
    "features_per_stage": (4, 6, 8, 10),
    "conv_op": nn.Conv3d,
    "kernel_sizes": 3,
    "strides": (1, 2, 2, 2),
    "n_conv_per_stage_decoder": 1,
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}

BUILD: dict[str, Callable[..., nn.Module]] = {
    "UNet": lambda **o: UNet(3, 1, 2, (4, 8, 8, 16), (2, 2, 2), num_res_units=1, **o),
    "DynUNet": lambda **o: DynUNet(
        3, 1, 2, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[4, 8, 8, 16], deep_supervision=True, deep_supr_num=2, **o
    ),
    "SegResNet": lambda **o: SegResNet(
        3, 4, 1, 2, blocks_down=(1, 1, 1, 1), blocks_up=(1, 1, 1), norm=("GROUP", {"num_groups": 2}), **o
    ),
    "SegResNetDS": lambda **o: SegResNetDS(3, 4, 1, 2, blocks_down=(1, 1, 1, 1), norm="INSTANCE", **o),
    "AttentionUnet": lambda **o: AttentionUnet(3, 1, 2, (4, 8, 8, 8), (2, 2, 2), **o),
    "BasicUNet": lambda **o: BasicUNet(3, 1, 2, (4, 4, 8, 8, 8, 4), **o),
    "PlainConvUNet": lambda **o: PlainConvUNet(
        input_channels=1, num_classes=2, n_conv_per_stage=1, deep_supervision=False, **NNUNET, **o
    ),
    "ResidualEncoderUNet": lambda **o: ResidualEncoderUNet(
        input_channels=1, num_classes=2, n_blocks_per_stage=1, deep_supervision=False, **NNUNET, **o
    ),
}

LEVELS = dict.fromkeys(BUILD, 3) | {"BasicUNet": 4}
"""How many decoder levels each has."""


def free_network(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """A network in evaluation mode; batch norms get statistics as after a training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BUILD[name](**options)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d) and module.running_mean is not None:
                nn.init.normal_(module.running_mean, std=0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
            if isinstance(module, nn.InstanceNorm3d | nn.GroupNorm | nn.BatchNorm3d) and module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def random_image(shape: tuple[int, int, int] = (32, 16, 16), seed: int = 1) -> torch.Tensor:
    """`[1, 1, D, H, W]`."""
    return torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
