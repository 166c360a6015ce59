#!/usr/bin/env bash
# TotalSegmentator brings an image to its network's voxel size with totalsegmentator.resampling.change_spacing: "Resample nifti image to the new
# spacing". It gives new voxels with a new affine matrix; its registration and its reports of lengths are built on it, and others import it.
#
# Expected: by its new affine matrix, the image lies where it lay. An image whose intensity is its own z in mm shows that z in each new voxel, as
# after nibabel's resampling to the very same grid.
# Seen (TotalSegmentator 2.18.0, scipy 1.17.1): of 24 slices of 5 mm, brought to 1.5 mm, the first one is right, one in the middle is off by
# 1.8 mm, the last one by 3.5 mm; from 1 to 3 mm by -1.1 and -2 mm. The voxels come from scipy.ndimage.zoom, which lays the first and the
# last voxel of old and new on each other, in steps of 115 / 79 = 1.456 mm, while the matrix says 1.5. At the end that is old - new mm, whatever
# the number of slices, so lengths are stretched, of few slices more than of many. Labels (order=0) go likewise; with crop_resample=True the
# same function resamples by the voxels' edges, and moves all by half of that. Its own labels go there and back, which cancels as a rule.
# What to do: resample by the affine matrix (nibabel.processing, SimpleITK), or write steps of (n - 1) / (m - 1) old voxels into it.
#
# Run it: bash findings/totalsegmentator_new_spacing_is_not_the_voxels.sh   (a minute; needs Python 3.11 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 scipy==1.17.1 numpy==2.4.6 joblib==1.6.0
"$folder/venv/bin/pip" install --quiet --no-deps TotalSegmentator==2.18.0  # its module of resampling needs no more than these
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
from nibabel import Nifti1Image
from nibabel.processing import resample_from_to
from totalsegmentator.resampling import change_spacing

SLICES = 24


def image(of_slices, slice_distance):
    return Nifti1Image(np.broadcast_to(of_slices, (6, 6, SLICES)).astype(np.float32), np.diag([1.5, 1.5, slice_distance, 1.0]))


def heights(given):
    """The z of the slices, mm, by the image's affine matrix."""
    return given.affine[2, 2] * np.arange(given.shape[2]) + given.affine[2, 3]


def middle(label):
    return float(heights(label)[label.get_fdata()[3, 3] > 0].mean())


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("TotalSegmentator", "nibabel", "scipy", "numpy")))
for old, new in ((5.0, 1.5), (1.0, 3.0)):
    given = image(old * np.arange(SLICES), old)
    got = change_spacing(given, [1.5, 1.5, new], order=1)
    right = resample_from_to(given, (got.shape, got.affine), order=1, mode="nearest")
    z = heights(got)
    inside = z <= old * (SLICES - 1)  # beyond the last slice there is nothing to resample
    off, off_by_nibabel = z - got.get_fdata()[3, 3], z - right.get_fdata()[3, 3]
    print(f"{old:g} to {new:g} mm, {SLICES} to {len(z)} slices, off by (mm): first slice {off[0]:.2f}, middle {off[len(z) // 2]:.2f},", end=" ")
    print(f"last {off[-1]:.2f}; by nibabel at most {abs(off_by_nibabel[inside]).max():.2f}")
    assert np.allclose(off, (old - new) * np.arange(len(z)) / (len(z) - 1), atol=1e-3), "this has changed"
    assert abs(off_by_nibabel[inside]).max() < 1e-3, "this has changed"

label = image(np.isin(np.arange(SLICES), (18, 19, 20, 21)), 5.0)
right = resample_from_to(label, ((6, 6, 80), np.diag([1.5, 1.5, 1.5, 1.0])), order=0)
seen = {"by nibabel": middle(right) - middle(label)}
for options in ({"order": 0}, {"order": 1, "crop_resample": True}):
    seen[str(options)] = middle(change_spacing(label, [1.5, 1.5, 1.5], **options)) - middle(label)
for name, moved in seen.items():
    print(f"label of four high slices, 5 to 1.5 mm, {name}: moved by {moved:+.2f} mm")
assert np.allclose(list(seen.values()), (0, 3, 1.5), atol=0.01), "this has changed"
PROGRAM
