#!/usr/bin/env bash
# A network's labels are cleaned with MONAI's FillHoles: an organ is 1, a lesion inside it 2. By its documentation it fills background voxels
# (label 0) that a single class encloses.
#
# Expected: the lesion is no background, and stays: 8 voxels of background inside the organ become organ, the lesion's 125 remain lesion.
# Seen (monai 1.6.1): the whole lesion becomes organ too, as everything that the organ encloses does, whatever its label. Nothing is raised or
# logged. Which of the two numbers is the larger makes no difference. A lesion that touches the organ's outside is kept. Where each label has a
# channel of its own, the lesion's 125 voxels are in both channels afterwards.
# What to do: fill the holes of a copy, and take its values only where the labels were 0; or clean before lesions are put into organs.
#
# Run it: bash findings/monai_fill_holes_erases_enclosed_labels.sh   (a few minutes; needs Python 3.11 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PROGRAM'
import platform
from importlib.metadata import version

import torch
from monai.transforms import FillHoles

ORGAN, LESION = 1, 2


def phantom(outer, inner, first=10):
    labels = torch.zeros(1, 30, 30, 30)
    labels[0, 5:25, 5:25, 5:25] = outer
    labels[0, first : first + 5, 10:15, 10:15] = inner
    labels[0, 20:22, 20:22, 20:22] = 0
    return labels


def voxels(labels):
    """Of background, organ and lesion."""
    return tuple(int((labels == label).sum()) for label in (0, ORGAN, LESION))


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("monai", "torch", "scipy", "numpy")))
before = phantom(ORGAN, LESION)
channels = torch.stack([before[0] == label for label in (0, ORGAN, LESION)]).float()
both = FillHoles(applied_labels=[ORGAN, LESION])(channels.clone())
by_hand = torch.where(before == 0, FillHoles()(before.clone()), before)
seen = {
    "before": voxels(before),
    "filled": voxels(FillHoles()(before.clone())),
    "filled, applied_labels=[1]": voxels(FillHoles(applied_labels=[ORGAN])(before.clone())),
    "label 2 around label 1, filled": voxels(FillHoles()(phantom(LESION, ORGAN))),
    "lesion at the organ's outside, filled": voxels(FillHoles()(phantom(ORGAN, LESION, first=5))),
    "filled where it was 0": voxels(by_hand),
}
for name, counts in seen.items():
    print(f"{name}: background {counts[0]}, organ (1) {counts[1]}, lesion (2) {counts[2]}")
shared = int((both[ORGAN].bool() & both[LESION].bool()).sum())
print("one channel each, filled: voxels in both organ and lesion:", shared)
assert seen == {
    "before": (19008, 7867, 125),
    "filled": (19000, 8000, 0),
    "filled, applied_labels=[1]": (19000, 8000, 0),
    "label 2 around label 1, filled": (19000, 0, 8000),
    "lesion at the organ's outside, filled": (19000, 7875, 125),
    "filled where it was 0": (19000, 7875, 125),
}, "this has changed"
assert shared == 125, "this has changed"
PROGRAM
