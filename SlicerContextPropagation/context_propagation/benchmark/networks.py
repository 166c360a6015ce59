"""nnU-Net's own networks as its planner would plan them for a window, and their trained-model folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

Kind = Literal["plain", "resenc"]


TITLES: Mapping[str, str] = {"plain": "nnU-Net's default (PlainConvUNet)", "resenc": "nnU-Net's ResEnc M preset"}


LARGEST_CHANNELS = 320


SMALLEST_FEATURES = 4
"""Voxels along each edge of the deepest features, as nnU-Net plans them."""


RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6)


INTENSITIES = {
    "max": 900.0, "mean": 0.0, "median": 0.0, "min": -500.0, "percentile_00_5": -400.0, "percentile_99_5": 500.0,
    "std": 110.0,
}  # fmt: skip
LABELS = {"background": 0, "blob": 1}


def check_kind(kind: str) -> Kind:
    """Refuse the name of an unknown network.

    Raises:
        UserInputError: It is neither "plain" nor "resenc".
    """
    for known in get_args(Kind):
        if kind == known:
            return known
    raise UserInputError(f"There is no network '{kind}' to measure; choose from {', '.join(get_args(Kind))}")


def architecture(kind: Kind, window: int, first_channels: int = 32) -> dict[str, Any]:
    """The architecture as `plans.json` has it, for a cubic patch at 1 mm.

    Args:
        kind: Which network.
        window: Edge of the patch in voxels.
        first_channels: Of the first stage; nnU-Net's have 32. Each further stage has twice as many, 320 at most.

    Raises:
        UserInputError: The network's strides do not divide the window.
    """
    topology = require("nnunetv2.experiment_planning.experiment_planners.network_topology", extra="nnunet")
    _, strides, kernels, patch, divisor = topology.get_pool_and_conv_props(
        [1.0] * 3, [window] * 3, SMALLEST_FEATURES, 999999
    )
    if window < 2 * SMALLEST_FEATURES:
        raise UserInputError(f"A window of {window} voxels is too small; give at least {2 * SMALLEST_FEATURES}")
    factor = int(divisor[0])
    if window % factor:
        raise UserInputError(
            f"A window of {window} voxels is no multiple of {factor}, by which nnU-Net's network for it divides; give "
            f"{patch[0]}"
        )
    stages = len(strides)
    depth = {"n_conv_per_stage": [2] * stages} if kind == "plain" else {"n_blocks_per_stage": RESIDUAL_BLOCKS[:stages]}
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet."
        + ("PlainConvUNet" if kind == "plain" else "ResidualEncoderUNet"),
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [min(LARGEST_CHANNELS, first_channels * 2**stage) for stage in range(stages)],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [list(kernel) for kernel in kernels],
            "strides": [list(stride) for stride in strides],
            **depth,
            "n_conv_per_stage_decoder": [2 if kind == "plain" else 1] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def build(plan: Mapping[str, Any], seed: int, channels: int = 1, outputs: int = len(LABELS)) -> nn.Module:
    """The network of an architecture with seeded weights, as nnU-Net starts them; one output, for the finest stage."""
    make = require("nnunetv2.utilities.get_network_from_plans", extra="nnunet").get_network_from_plans
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = make(
            plan["network_class_name"], plan["arch_kwargs"], plan["_kw_requires_import"], channels, outputs,
            deep_supervision=False,
        )  # fmt: skip
    return network


def write_folder(path: Path, plan: Mapping[str, Any], window: int, weights: Mapping[str, torch.Tensor]) -> None:
    """A trained-model folder as nnU-Net writes it: `plans.json`, `dataset.json`, and the checkpoint of fold "all"."""
    dataset = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 1, "file_ending": ".nii.gz"}
    plans = _plans(plan, window)
    fold = path / "fold_all"
    fold.mkdir(parents=True)
    (path / "plans.json").write_text(json.dumps(plans, indent=2), encoding="utf-8")
    (path / "dataset.json").write_text(json.dumps(dataset, indent=2), encoding="utf-8")
    arguments = {"plans": plans, "configuration": "3d_fullres", "fold": "all", "dataset_json": dataset}
    checkpoint = {
        "network_weights": dict(weights), "optimizer_state": {}, "grad_scaler_state": None, "logging": {},
        "_best_ema": 0.0, "current_epoch": 1, "init_args": arguments, "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }  # fmt: skip
    torch.save(checkpoint, fold / "checkpoint_final.pth")


def _plans(plan: Mapping[str, Any], window: int) -> dict[str, Any]:
    patch: Sequence[int] = [window] * 3
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(n) for n in patch],
        "spacing": [1.0] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **dict.fromkeys(RESAMPLING, "resample_data_or_seg_to_shape"),
        **{f"{name}_kwargs": {**of, "order_z": 0, "force_separate_z": None} for name, of in RESAMPLING.items()},
        "architecture": dict(plan),
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset001_Blob",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0] * 3,
        "original_median_shape_after_transp": patch,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
    }


RESAMPLING: Mapping[str, Mapping[str, Any]] = {
    "resampling_fn_data": {"is_seg": False, "order": 3},
    "resampling_fn_seg": {"is_seg": True, "order": 1},
    "resampling_fn_probabilities": {"is_seg": False, "order": 1},
}
