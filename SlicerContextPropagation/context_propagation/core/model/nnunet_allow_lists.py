"""The names in an nnU-Net folder that may be imported or loaded; all others are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

NETWORKS = {
    "dynamic_network_architectures.architectures.unet.PlainConvUNet": "PlainConvUNet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet": "ResidualEncoderUNet",
    # How nnU-Net itself completes plans from before 2.3
    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet": "ResidualEncoderUNet",
}
"""Network names in plans.json, and the class of `dynamic_network_architectures.architectures.unet` each one means."""


def _torch_names(module: str, *classes: type[nn.Module]) -> dict[str, type[nn.Module]]:
    long = {f"torch.nn.modules.{module}.{cls.__name__}": cls for cls in classes}
    return long | {f"torch.nn.{cls.__name__}": cls for cls in classes}


KEYWORD_CLASSES: dict[str, dict[str, type[nn.Module]]] = {
    "conv_op": _torch_names("conv", nn.Conv3d),
    "norm_op": _torch_names("instancenorm", nn.InstanceNorm3d) | _torch_names("batchnorm", nn.BatchNorm3d),
    "dropout_op": _torch_names("dropout", nn.Dropout, nn.Dropout3d),
    "nonlin": _torch_names("activation", nn.LeakyReLU, nn.ReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU),
}
"""Arguments of a network that plans.json gives by name (`_kw_requires_import`), and what they may name."""


RESAMPLING_FUNCTIONS = frozenset({"resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"})


RESAMPLING_ENTRIES = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")


PREPROCESSORS = frozenset({"DefaultPreprocessor"})


READERS = frozenset({"SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"})


LABEL_MANAGERS = frozenset({"LabelManager"})


NORMALIZATIONS = frozenset(
    {"ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"}
)


TRAINERS = frozenset(
    "nnUNetTrainer" + suffix
    for suffix in (
        *("", "NoMirroring", "_onlyMirror01", "_onlyMirror01_1500ep", "_onlyMirror01_DASegOrd0", "_onlyMirror01_DA5"),
        *("DA5", "DA5ord0", "DA5Segord0", "DA5_10epochs", "NoDA", "_DASegOrd0", "_DASegOrd0_NoMirroring"),
        *("_noDummy2DDA", "_warmup", "CosAnneal", "NoDeepSupervision"),
        *("Adan", "Adan1en3", "Adan3en4", "Adan1en1", "AdanCosAnneal"),
        *("Adam", "Adam1en3", "Adam3en4", "VanillaAdam", "VanillaAdam1en3", "VanillaAdam3en4"),
        *("DiceLoss", "DiceCELoss_noSmooth", "Topk10Loss", "Topk10LossLS01", "DiceTopK10Loss"),
        *("CELoss", "CELoss_5epochs", "Benchmark_5epochs", "Benchmark_5epochs_noDataLoading"),
        *("_probabilisticOversampling", "_probabilisticOversampling_033", "_probabilisticOversampling_010"),
        *(f"_{n}epochs" for n in (5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000)),
        *(f"_{n}epochs_NoMirroring" for n in (250, 2000, 4000, 8000)),
        "_1epoch",
    )
)
"""nnU-Net's own trainers that build the network that plans.json describes; of any other it is said that it may not."""


SAFE_GLOBALS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": np.dtype,
    "numpy._core.multiarray.scalar": np.float64(0).__reduce__()[0],
    "numpy.core.multiarray.scalar": np.float64(0).__reduce__()[0],
} | {f"numpy.dtypes.{type(np.dtype(name)).__name__}": type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8")}
"""What a checkpoint may name beside tensors and plain containers: the numpy scalars of nnU-Net's training log."""
