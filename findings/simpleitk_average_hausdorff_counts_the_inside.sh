#!/usr/bin/env bash
# SimpleITK's HausdorffDistanceImageFilter also gives an "average Hausdorff distance", which papers report beside the Hausdorff distance.
#
# Expected: the mean distance between the two surfaces, as MedPy's assd and others have it: a cube, and the same cube 2 mm larger on each side,
# are some 2 mm apart, whatever the cube's size.
# Seen (SimpleITK 2.5.3, medpy 0.5.2): .55, .34 and .19 mm for cubes of 10, 20 and 40 mm. The mean is over all voxels of each mask, those of the
# inside too, which are 0 mm from the other mask: the larger the target, the smaller the error looks. MedPy: 2.1, 2.1 and 2.0 mm. The filter
# gives the same where it is given contours: sitk.LabelContour(mask, fullyConnected=True).
# What to do: give the filter contours, or compare its figures with nothing but itself on targets of one size.
#
# Run it: bash findings/simpleitk_average_hausdorff_counts_the_inside.sh   (a minute; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.3 medpy==0.5.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
from medpy.metric.binary import assd

print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("simpleitk", "medpy", "numpy")))


def cube(start, stop):
    mask = np.zeros((60, 60, 60), np.uint8)
    mask[start:stop, start:stop, start:stop] = 1
    return mask


def average_mm(one, other):
    distance = sitk.HausdorffDistanceImageFilter()
    distance.Execute(one, other)
    return distance.GetAverageHausdorffDistance()


of_masks, of_contours, of_surfaces = [], [], []
for size in (10, 20, 40):
    one, other = cube(10, 10 + size), cube(8, 12 + size)
    images = [sitk.GetImageFromArray(mask) for mask in (one, other)]
    of_masks.append(average_mm(*images))
    of_contours.append(average_mm(*(sitk.LabelContour(image, True) for image in images)))
    of_surfaces.append(assd(one, other))
    print(f"cube of {size} mm: {of_masks[-1]:.2f} mm of the masks, {of_contours[-1]:.2f} of their contours; MedPy {of_surfaces[-1]:.2f}")
assert np.allclose(of_masks, (0.55, 0.34, 0.19), atol=0.01), "this has changed"
assert all(1.9 < distance < 2.3 for distance in of_contours + of_surfaces), "this has changed"
PROGRAM
