#!/usr/bin/env bash
# MONAI's RandSimulateLowResolution coarsens an image at random and brings it back to its size: "corresponding to nnU-Net's
# SimulateLowResolutionTransform". It is given the image alone; the labels stay as they are.
#
# Expected: what comes back is coarser and lies where it lay, but for a fraction of a voxel, as from batchgenerators, where nnU-Net's transform is
# from. There a blob's centre of mass moves by -.05 voxels along each axis, mean of 50 draws from the default zooms, .5 to 1 (by -.5 to 0: at
# exactly one half no voxel is in the middle).
# Seen (monai 1.6.1, torch 2.13.0): .67 voxels, always to higher indices (.5 to 1); at a third of the size 1, where batchgenerators' moves by 0.
# The default downsample_mode="nearest" is torch's: the first voxel of those that a coarse one covers, not the one in the middle. Training pairs
# so moved teach a network to draw beside the edge, along all axes to the same side. Labels that Resized or Zoomd bring to a third of the size with
# mode "nearest" leave their image likewise, by .8 voxels, though the affine matrices that MONAI gives both say that they lie in one place.
# What to do: pass "nearest-exact", in all three.
#
# Run it: bash findings/monai_low_resolution_moves_the_image.sh   (a few minutes; needs Python 3.11 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 batchgenerators==0.25.5 scipy==1.17.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import torch
from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy
from monai.data import MetaTensor
from monai.transforms import RandSimulateLowResolution, Resized, Zoomd

SIZE, DRAWS, MIDDLE = 48, 50, 23.5


def centre(image):
    """Centre of mass along the axis whose value moves most, in voxels of the original image."""
    weights = np.asarray(image, float)[0]
    indices = np.stack([(weights * index).sum() / weights.sum() for index in np.indices(weights.shape)])
    affine = np.asarray(image.affine) if isinstance(image, MetaTensor) else np.eye(4)
    placed = affine[:3, :3] @ indices + affine[:3, 3]
    assert np.ptp(placed) < 0.01, "the axes differ"
    return float(placed[0])


def moved_by_monai(low, high, **options):
    transform = RandSimulateLowResolution(prob=1, zoom_range=(low, high), **options).set_random_state(0)
    return [centre(transform(torch.from_numpy(BLOB.copy()))) - MIDDLE for _ in range(DRAWS if low < high else 1)]


def moved_by_batchgenerators(low, high):
    np.random.seed(0)
    options = {"zoom_range": (low, high), "p_per_channel": 1, "order_downsample": 0, "order_upsample": 1}
    return [centre(augment_linear_downsampling_scipy(BLOB.copy(), **options)) - MIDDLE for _ in range(DRAWS if low < high else 1)]


def pair_apart(transform):
    image, labels = (MetaTensor(torch.from_numpy(array.copy()), affine=torch.eye(4)) for array in (BLOB, (BLOB > 0.5).astype("f4")))
    pair = transform({"image": image, "labels": labels})
    assert torch.equal(pair["image"].affine, pair["labels"].affine)
    return centre(pair["labels"]) - centre(pair["image"])


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("monai", "batchgenerators", "torch", "numpy")))
BLOB = np.exp(-((np.indices((SIZE,) * 3) - MIDDLE) ** 2).sum(0) / (2 * 6**2)).astype(np.float32)[None]

seen = {}
for low, high in ((0.5, 1.0), (1 / 3, 1 / 3)):
    every = {
        "MONAI": moved_by_monai(low, high),
        "MONAI, nearest-exact": moved_by_monai(low, high, downsample_mode="nearest-exact"),
        "batchgenerators": moved_by_batchgenerators(low, high),
    }
    seen[round(low, 2), round(high, 2)] = [float(np.mean(moves)) for moves in every.values()]
    assert min(every["MONAI"]) > 0.4, "this has changed"
    for name, moves in every.items():
        print(f"zoom {low:.2f} to {high:.2f}, {name}: moved by {np.mean(moves):+.2f} voxels ({min(moves):+.2f} to {max(moves):+.2f})")
expected = {(0.5, 1.0): (0.67, -0.055, -0.055), (0.33, 0.33): (1, 0, 0)}
assert all(np.allclose(seen[zooms], expected[zooms], atol=0.02) for zooms in expected), "this has changed"

keys, apart = ("image", "labels"), {}
for mode in ("nearest", "nearest-exact"):
    apart[mode] = [
        pair_apart(Resized(keys, (SIZE // 3,) * 3, mode=("trilinear", mode))),
        pair_apart(Zoomd(keys, zoom=1 / 3, mode=("trilinear", mode), keep_size=False)),
    ]
    print(f"a third of the size, labels by {mode}: off their image by {apart[mode][0]:+.2f} (Resized) and {apart[mode][1]:+.2f} voxels (Zoomd)")
assert np.allclose(apart["nearest"], 0.8, atol=0.05) and np.allclose(apart["nearest-exact"], 0, atol=0.02), "this has changed"
PROGRAM
