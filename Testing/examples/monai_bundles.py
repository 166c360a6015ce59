"""MONAI bundles on disk as MONAI writes and reads them, with seeded random weights instead of a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from free_networks import free_network

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": "@classes",
    "channels": [4, 8, 8, 16],
    "strides": [2, 2, 2],
    "num_res_units": 1,
}
WINDOW = {"a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True}
PREPROCESSING = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
    {"_target_": "ScaleIntensityRanged", "keys": "@key", **WINDOW},
    {"_target_": "EnsureTyped", "keys": "image"},
]
POSTPROCESSING = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": False,
        "device": "$torch.device('cpu')",
    },
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@output_dir + '/x'"},
]


def configuration(**changes: Any) -> dict[str, Any]:
    """`inference.json` of a spleen-like bundle; what a bundle's workflow needs besides is full of expressions."""
    content = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "classes": 2,
        "key": "image",
        "network_def": dict(NETWORK),
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": [dict(item) for item in PREPROCESSING]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [dict(item) for item in POSTPROCESSING]},
        "evaluator": {"_target_": "SupervisedEvaluator", "network": "@network", "amp": True},
    }
    return content | changes


def metadata(channels: int = 2) -> dict[str, Any]:
    """`metadata.json`, the parts that are read."""
    names = ["background", "spleen", "liver"][:channels]
    image = {"type": "image", "spatial_shape": [32, 32, 32], "channel_def": {"0": "CT"}}
    return {
        "version": "0.1.0",
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": {"type": "image", "channel_def": {str(n): name for n, name in enumerate(names)}}},
        },
    }


def write_monai_bundle(
    path: Path, weights: str = "model.safetensors", described: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """Write a bundle around a UNet.

    Args:
        path: Folder to write into; made when it is missing.
        weights: "model.safetensors" or "model.pt".
        described: Content of `metadata.json`; by default `metadata()`.
        changes: Entries of `inference.json` in place of `configuration()`'s.

    Returns:
        `path`.
    """
    (path / "configs").mkdir(parents=True)
    (path / "models").mkdir()
    (path / "configs/inference.json").write_text(json.dumps(configuration(**changes), indent=2))
    (path / "configs/metadata.json").write_text(json.dumps(described or metadata(), indent=2))
    state = free_network("UNet").state_dict()
    if weights.endswith(".safetensors"):
        save_file(state, path / "models" / weights)
    else:
        torch.save(state, path / "models" / weights)
    return path
