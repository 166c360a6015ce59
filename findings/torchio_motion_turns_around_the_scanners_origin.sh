#!/usr/bin/env bash
# TorchIO's RandomMotion simulates a patient who moves while the image is acquired: parts of k-space come from turned and shifted copies of the
# image. Its source places the centre of each rotation in the middle of the image.
#
# Expected: the artefact depends on the voxels and the drawn angles, not on where the scanner has its origin: a ball in the image's middle, turned
# by 10 degrees around it, is the same ball.
# Seen (torchio 1.2.1): the rotation is around the point 0, 0, 0 of the scanner's coordinates: the centre is lost where each movement goes
# through a matrix of 4 x 4 and back (Motion.transform_to_matrix keeps rotation and translation alone). With that point in the middle of the ball all
# is as expected. With it in the first voxel, as in a new tensor, the turned ball is 5.8 mm away; 200 mm below the image it is out of it but for
# some voxels of its edge; 1000 mm above, as in many a PET or CT, all is out of it, so that 10 degrees and 20 give the same: k-space is cut off
# there, and nothing has moved. The same seed gives another artefact for each origin.
# What to do: set the image's affine matrix so that 0, 0, 0 is in its middle, apply the motion, and set the matrix back.
#
# Run it: bash findings/torchio_motion_turns_around_the_scanners_origin.sh   (a few minutes; needs Python 3.11 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchio==1.2.1 simpleitk==2.5.7 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
import torch
import torchio
from torchio.transforms import Motion, RandomMotion

SIZE, MIDDLE, RADIUS = 48, 23.5, 16
FIRST_VOXEL = {  # in RAS, mm
    "0, 0, 0 in the middle": (-MIDDLE, -MIDDLE, -MIDDLE),
    "0, 0, 0 in the first voxel": (0.0, 0.0, 0.0),
    "0, 0, 0 200 mm below": (-MIDDLE, -MIDDLE, 200.0),
    "0, 0, 0 1000 mm above": (-MIDDLE, -MIDDLE, -1000.0 - SIZE),
}


def image(origin):
    affine = np.eye(4)
    affine[:3, 3] = origin
    return torchio.ScalarImage(tensor=torch.from_numpy(BALL.copy()), affine=affine)


def motion(degrees):
    """One movement around the first axis, after 60 per cent of the time."""
    return Motion(np.array([[degrees, 0.0, 0.0]]), np.zeros((1, 3)), np.array([0.6]), "linear")


def turned(given):
    """The copy that the motion takes a part of k-space from: how much of the ball is in it, and how far from the middle."""
    by_ten, before = motion(10.0), given.as_sitk()
    movements = by_ten.get_rigid_transforms(by_ten.degrees, by_ten.translation, before)
    copy = sitk.GetArrayFromImage(by_ten.resample_images(before, movements, "linear")[1])
    if not copy.any():
        return 0.0, None
    middle = np.array([(copy * index).sum() / copy.sum() for index in np.indices(copy.shape)])
    return round(float(copy.sum() / BALL.sum()), 3), round(float(np.linalg.norm(middle - MIDDLE)), 1)


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("torchio", "torch", "SimpleITK", "numpy")))
torch.set_num_threads(1)
BALL = (((np.indices((SIZE,) * 3) - MIDDLE) ** 2).sum(0) <= RADIUS**2).astype(np.float32)[None]
seen, drawn = {}, []
for name, origin in FIRST_VOXEL.items():
    same = bool(np.array_equal(*(motion(degrees)(image(origin)).numpy() for degrees in (10.0, 20.0))))
    torch.manual_seed(0)
    drawn.append(RandomMotion(degrees=10, translation=0, num_transforms=2)(image(origin)).numpy())
    seen[name] = *turned(image(origin)), same
    print(f"{name}: turned by 10 degrees: {seen[name][0]:.1%} of the ball is in the image", end="")
    print("" if seen[name][1] is None else f", {seen[name][1]:g} mm from where it was", end="")
    print(f"; 10 and 20 degrees give the same: {same}; RandomMotion, same seed: off by up to {abs(drawn[-1] - drawn[0]).max():.2f}")
assert list(seen.values()) == [(1.0, 0.0, False), (1.0, 5.8, False), (0.005, 23.6, False), (0.0, None, True)], "this has changed"
assert all(abs(other - drawn[0]).max() > 0.25 for other in drawn[1:]), "this has changed"
PROGRAM
