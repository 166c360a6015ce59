"""Trained-model folders as nnU-Net v2.8 writes them, with seeded random weights instead of a training."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

ARCHITECTURES = "dynamic_network_architectures.architectures.unet."
RESAMPLING = {"order_z": 0, "force_separate_z": None}


@functools.cache
def _templates() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="nnunet-folders-")


def _made_once(write: Callable[..., Path]) -> Callable[..., Path]:
    """Make each folder once in a process, and copy it from then on: many tests want the same one."""

    made: dict[str, Path] = {}

    @functools.wraps(write)
    def copy(path: Path, **options: Any) -> Path:
        wanted = repr(sorted(options.items()))
        if wanted not in made:
            made[wanted] = write(Path(_templates().name) / str(len(made)), **options)
        shutil.copytree(made[wanted], path, dirs_exist_ok=True)
        return path

    return copy


@_made_once
def write_nnunet_folder(
    path: Path,
    *,
    architecture: str = "PlainConvUNet",
    channels: int = 1,
    labels: dict[str, Any] | None = None,
    regions_class_order: Sequence[int] | None = None,
    folds: Sequence[int | str] = (0,),
    patch_size: Sequence[int] = (16, 16, 16),
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    features: Sequence[int] = (4, 8, 8),
    convolutions: int = 1,
    strides: Sequence[Sequence[int]] | None = None,
    image_reader: str = "SimpleITKIO",
    transpose_forward: Sequence[int] = (0, 1, 2),
    channel_name: str = "MRI",
    configuration: str = "3d_fullres",
    checkpoint: str = "checkpoint_final.pth",
    optimizer: bool = False,
    seed: int = 0,
) -> Path:
    """Write `plans.json`, `dataset.json` and one checkpoint per fold.

    Args:
        path: Folder to write into; made when it is missing.
        architecture: "PlainConvUNet" or "ResidualEncoderUNet".
        channels: Number of input channels.
        labels: As in `dataset.json`; lists of labels make it region-based. Default: background and GTV.
        regions_class_order: As in `dataset.json`, for region-based labels.
        folds: One checkpoint each, every one with other weights.
        patch_size: In the network's axes (after `transpose_forward`).
        spacing: Of the network's grid in mm, in the network's axes.
        features: Channels per stage; its length is the number of stages.
        convolutions: Of each stage of a PlainConvUNet's encoder; nnU-Net's plans have 2, as the decoder has here.
        strides: Per stage; default 1 for the first and 2 for the others.
        image_reader: nnU-Net's reader-writer class.
        transpose_forward: As in `plans.json`.
        channel_name: "CT" gives CT normalization, any other name z-score.
        configuration: The configuration that the checkpoints name.
        checkpoint: File name of the checkpoints.
        optimizer: Whether they hold the optimizer's state, as nnU-Net's do: a third of the time to read them.
        seed: Of the weights of the first fold.

    Returns:
        `path`.
    """
    labels = {"background": 0, "GTV": 1} if labels is None else labels
    strides = [[1] * 3] + [[2] * 3] * (len(features) - 1) if strides is None else [list(s) for s in strides]
    dataset = _dataset(channels, channel_name, labels, regions_class_order)
    full = _configuration(
        "3d_fullres", architecture, channels, patch_size, spacing, features, convolutions, strides, channel_name
    )
    flat = _configuration(
        *("2d", architecture, channels, patch_size[1:], spacing[1:], features, convolutions),
        *([s[1:] for s in strides], channel_name),
    )
    plans = _plans({"2d": flat, "3d_fullres": full}, channels, spacing, patch_size, image_reader, transpose_forward)
    path.mkdir(parents=True, exist_ok=True)
    (path / "plans.json").write_text(json.dumps(plans, indent=4))
    (path / "dataset.json").write_text(json.dumps(dataset, indent=4))
    heads = len(labels) - 1 if regions_class_order else len(labels)
    chosen = flat if configuration == "2d" else full
    for number, fold in enumerate(folds):
        network = _random_network(chosen["architecture"], channels, heads, seed + number)
        init_args = {
            "plans": plans,
            "configuration": configuration,
            "fold": fold,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        }
        (path / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(_checkpoint(network, init_args, optimizer), path / f"fold_{fold}" / checkpoint)
    return path


def edit_json(file: Path, *keys: str, value: Any) -> None:
    """Set one value of a JSON file, e.g. `edit_json(plans, "configurations", "3d_fullres", "spacing", value=...)`."""
    content = json.loads(file.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write_text(json.dumps(content, indent=4))


def edit_checkpoint(file: Path, **entries: Any) -> None:
    """Set entries of a checkpoint that this module wrote."""
    content = torch.load(file, weights_only=False)
    torch.save({**content, **entries}, file)


def _dataset(
    channels: int, channel_name: str, labels: dict[str, Any], regions_class_order: Sequence[int] | None
) -> dict[str, Any]:
    dataset: dict[str, Any] = {
        "channel_names": {str(c): channel_name for c in range(channels)},
        "labels": labels,
        "numTraining": 10,
        "file_ending": ".nii.gz",
    }
    if regions_class_order is not None:
        dataset["regions_class_order"] = list(regions_class_order)
    return dataset


def _plans(
    configurations: dict[str, Any],
    channels: int,
    spacing: Sequence[float],
    shape: Sequence[int],
    image_reader: str,
    transpose_forward: Sequence[int],
) -> dict[str, Any]:
    intensities = {
        "max": 900.0,
        "mean": 100.0,
        "median": 90.0,
        "min": -100.0,
        "percentile_00_5": -50.0,
        "percentile_99_5": 400.0,
        "std": 80.0,
    }
    return {
        "dataset_name": "Dataset001_GTV",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing),
        "original_median_shape_after_transp": list(shape),
        "image_reader_writer": image_reader,
        "transpose_forward": list(transpose_forward),
        "transpose_backward": np.argsort(transpose_forward).tolist(),
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(c): intensities for c in range(channels)},
    }


def _configuration(
    name: str,
    architecture: str,
    channels: int,
    patch_size: Sequence[int],
    spacing: Sequence[float],
    features: Sequence[int],
    convolutions: int,
    strides: Sequence[Sequence[int]],
    channel_name: str,
) -> dict[str, Any]:
    return {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch_size),
        "median_image_size_in_voxels": [float(n) for n in patch_size],
        "spacing": list(spacing),
        "normalization_schemes": ["CTNormalization" if channel_name == "CT" else "ZScoreNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **RESAMPLING},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **RESAMPLING},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **RESAMPLING},
        "architecture": _architecture(architecture, len(patch_size), features, convolutions, strides),
        "batch_dice": name == "2d",
    }


def _architecture(
    architecture: str, dimensions: int, features: Sequence[int], convolutions: int, strides: Sequence[Sequence[int]]
) -> dict[str, Any]:
    stages = len(features)
    residual = architecture == "ResidualEncoderUNet"
    blocks = {"n_blocks_per_stage": [1] * stages} if residual else {"n_conv_per_stage": [convolutions] * stages}
    return {
        "network_class_name": ARCHITECTURES + architecture,
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [[3] * dimensions] * stages,
            "strides": [list(stride) for stride in strides],
            **blocks,
            "n_conv_per_stage_decoder": [1 if residual else 2] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _random_network(architecture: dict[str, Any], channels: int, heads: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            channels,
            heads,
            deep_supervision=True,
        )
        for module in network.modules():
            if isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


def _checkpoint(network: nn.Module, init_args: dict[str, Any], optimizer: bool) -> dict[str, Any]:
    dimensions = len(init_args["plans"]["configurations"][init_args["configuration"]]["patch_size"])
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": _optimizer_state(network) if optimizer else None,
        "grad_scaler_state": None,
        "logging": _logging(),
        "_best_ema": np.float64(0.71),
        "current_epoch": 1,
        "init_args": init_args,
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": tuple(range(dimensions)),
    }


def _optimizer_state(network: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.SGD(network.parameters(), 0.0, momentum=0.99, nesterov=True, weight_decay=3e-5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer.state_dict()


def _logging() -> dict[str, list[Any]]:
    """One epoch as the trainer's logger keeps it, which takes seconds to import; with its numpy scalars."""
    return {
        "mean_fg_dice": [np.float64(0.71)],
        "ema_fg_dice": [np.float64(0.71)],
        "dice_per_class_or_region": [[np.float32(0.71)]],
        "train_losses": [np.float32(-0.3)],
        "val_losses": [np.float32(-0.2)],
        "lrs": [0.01],
        "epoch_start_timestamps": [1.0],
        "epoch_end_timestamps": [2.0],
    }
