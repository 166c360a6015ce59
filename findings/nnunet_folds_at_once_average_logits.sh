#!/usr/bin/env bash
# nnU-Net joins the five networks of a cross-validation in two ways: nnUNetv2_predict takes several folds at once, or each fold's probabilities
# are saved (--save_probabilities) and nnUNetv2_ensemble joins the files.
#
# Expected: both are the mean of the folds' probabilities (nnU-Net's paper: softmax outputs are averaged), so the labels are the same.
# Seen (nnunetv2 2.8.1): folds at once are joined by the mean of their logits, saved ones by the mean of their probabilities. Of three folds
# one gives the target 9 (in logits, against 0), two give it -3: .9999, .047 and .047. At once it is target: the one that is very sure
# outvotes two. From files it is background: the mean probability is .365.
# What to do: say which of the two was used, and do not compare figures of one with those of the other.
#
# Run it: bash findings/nnunet_folds_at_once_average_logits.sh   (some minutes; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 nnunetv2==2.8.1 numpy==2.4.6
cd "$folder"
export nnUNet_raw="$folder" nnUNet_preprocessed="$folder" nnUNet_results="$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import torch
from nnunetv2.ensembling.ensemble import average_probabilities
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("nnunetv2", "torch", "numpy")))
TARGET_LOGITS = (9.0, -3.0, -3.0)
SIZE = (8, 8, 8)
dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "target": 1}, "file_ending": ".nii.gz"}
network_of_plans = {"network_class_name": "torch.nn.Conv3d", "arch_kwargs": {}, "_kw_requires_import": []}
configurations = {"3d_fullres": {"patch_size": list(SIZE), "architecture": network_of_plans}}
plans = PlansManager({"plans_name": "nnUNetPlans", "configurations": configurations})


def network(target_logit):
    """Gives every voxel the same logits: 0 for background, and one for the target."""
    convolution = torch.nn.Conv3d(1, 2, 1)
    torch.nn.init.zeros_(convolution.weight)
    with torch.no_grad():
        convolution.bias.copy_(torch.tensor([0.0, target_logit]))
    return convolution


def logits_of(folds):
    """What nnUNetv2_predict computes with these folds."""
    predictor = nnUNetPredictor(
        tile_step_size=1, use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu")
    )
    weights = [network(logit).state_dict() for logit in folds]
    configuration = plans.get_configuration("3d_fullres")
    predictor.manual_initialization(network(0), plans, configuration, weights, dataset, "nnUNetTrainer", None)
    return predictor.predict_logits_from_preprocessed_data(torch.zeros(1, *SIZE))


labels = plans.get_label_manager(dataset)
at_once = labels.convert_logits_to_segmentation(logits_of(TARGET_LOGITS))
files = []
for number, logit in enumerate(TARGET_LOGITS):
    files.append(f"fold{number}.npz")
    np.savez(files[-1], probabilities=np.asarray(labels.apply_inference_nonlin(logits_of([logit]))))
mean = average_probabilities(files)
from_files = labels.convert_probabilities_to_segmentation(mean)
print("folds at once, labels:", np.unique(np.asarray(at_once)), "target's logit", float(logits_of(TARGET_LOGITS)[1, 0, 0, 0]))
print("from files, labels:", np.unique(np.asarray(from_files)), "target's probability", round(float(mean[1, 0, 0, 0]), 3))
assert (np.asarray(at_once) == 1).all() and (np.asarray(from_files) == 0).all(), "this has changed"
PROGRAM
