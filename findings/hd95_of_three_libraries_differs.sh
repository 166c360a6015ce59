#!/usr/bin/env bash
# HD95, the 95th percentile of the Hausdorff distance, is reported in most papers on segmentation, as a rule without the program that computed it.
#
# Expected: the same two masks have the same HD95 in each library, but for about a voxel.
# Seen (monai 1.6.1, surface-distance 0.1, medpy 0.5.2): a cube of 20 voxels, and the same cube with a finger of 4 x 4 voxels over 12 slices, of
# 1 x 1 x 4 mm: 12 mm, 24 mm and 0 mm. MONAI takes the percentile over the voxels of each surface and the larger one; surface-distance weighs
# each element of a surface by its area, which the slice distance makes larger on the finger's sides; MedPy pools the distances of both
# surfaces before it takes the percentile, so that a finger counts half.
# What to do: say with a figure which library it is from, and compare only figures of one.
#
# Run it: bash findings/hd95_of_three_libraries_differs.sh   (a few minutes; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 surface-distance==0.1 medpy==0.5.2 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import surface_distance
import torch
from medpy.metric.binary import hd95
from monai.metrics import compute_hausdorff_distance

SPACING_MM = (4.0, 1.0, 1.0)  # slices, rows, columns

names = ("monai", "surface-distance", "medpy", "torch", "numpy")
print("python", platform.python_version(), *(f"{name} {version(name)}" for name in names))
cube = np.zeros((50, 50, 50), bool)
cube[15:35, 15:35, 15:35] = True
with_finger = cube.copy()
with_finger[35:47, 23:27, 23:27] = True

one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (cube, with_finger))
distances = surface_distance.compute_surface_distances(cube, with_finger, SPACING_MM)
seen = {
    "MONAI": float(compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=SPACING_MM)),
    "surface-distance": float(surface_distance.compute_robust_hausdorff(distances, 95)),
    "MedPy": float(hd95(with_finger, cube, voxelspacing=SPACING_MM)),
}
for name, value in seen.items():
    print(f"{name}: HD95 {value:g} mm")
assert seen == {"MONAI": 12.0, "surface-distance": 24.0, "MedPy": 0.0}, "this has changed"
PROGRAM
