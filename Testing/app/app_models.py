"""A small network with random weights, made in a moment from the plans of the model that ships.

It predicts nothing sensible: what is tested is Slicer and the module, not the network.
"""

import json
from pathlib import Path

FEATURES = (4, 8, 8)
SPACING_MM = (2.5, 1.1, 0.8)
PATCH = (16, 16, 16)


def write_model(folder, channels=1, seed=1):
    """Write a folder as nnU-Net's training does. Needs torch and nnU-Net.

    Returns:
        `folder`.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    from context_propagation.core.bundle.shipped_bundle import shipped_bundle

    folder, source = Path(folder), shipped_bundle() / "model"
    plans = json.loads((source / "plans.json").read_text("utf-8"))
    dataset = json.loads((source / "dataset.json").read_text("utf-8"))
    dataset["channel_names"] = {str(channel): "MRI" for channel in range(channels)}
    intensities = plans["foreground_intensity_properties_per_channel"]["0"]
    plans["foreground_intensity_properties_per_channel"] = {str(channel): intensities for channel in range(channels)}
    plan = plans["configurations"]["3d_fullres"]
    plan.update(patch_size=list(PATCH), spacing=list(SPACING_MM))
    plan.update(normalization_schemes=["ZScoreNormalization"] * channels, use_mask_for_norm=[False] * channels)
    network = plan["architecture"]["arch_kwargs"]
    network["n_stages"], network["features_per_stage"] = len(FEATURES), list(FEATURES)
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        network[key] = network[key][: len(FEATURES)]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][: len(FEATURES) - 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        name, imports = plan["architecture"]["network_class_name"], plan["architecture"]["_kw_requires_import"]
        built = get_network_from_plans(name, network, imports, channels, len(dataset["labels"]), deep_supervision=True)
        for module in built.modules():
            if isinstance(module, torch.nn.InstanceNorm3d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    checkpoint = {
        "network_weights": built.state_dict(),
        "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans), "utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder
