#!/usr/bin/env bash
# nnU-Net's training blurs some of its images: GaussianBlurTransform of batchgeneratorsv2 with benchmark=True.
#
# Expected: on one computer, one process and one thread, the same seed gives the same augmented image, bit for bit.
# Seen (nnunetv2 2.8.1, batchgeneratorsv2 0.3.6): for each image size and kernel the transform times a convolution and a Fourier transform and
# keeps the faster one from then on. Which that is depends on what else the computer does; the two differ by rounding. Here the
# stopwatch is replaced by one that favours either: same image, same seed, most voxels differ, by up to 5e-7.
# What to do: where augmented images must be repeated to the bit, build the transform with benchmark=False.
#
# Run it: bash findings/nnunet_blur_is_chosen_by_a_stopwatch.sh   (some minutes; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 nnunetv2==2.8.1 batchgeneratorsv2==0.3.6 numpy==2.4.6
cd "$folder"
export nnUNet_raw="$folder" nnUNet_preprocessed="$folder" nnUNet_results="$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version
from itertools import count

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise import gaussian_blur
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

names = ("nnunetv2", "batchgeneratorsv2", "torch", "numpy")
print("python", platform.python_version(), *(f"{name} {version(name)}" for name in names))
torch.set_num_threads(1)
patch = np.array([32, 32, 32])
rotation = (-0.5, 0.5)


def nnunets_blur():
    """The transform as nnU-Net's trainer builds it."""
    steps = nnUNetTrainer.get_training_transforms(patch, rotation, None, (0, 1, 2), False).transforms
    inner = [getattr(step, "transform", step) for step in steps]
    return next(step for step in inner if isinstance(step, gaussian_blur.GaussianBlurTransform))


def stopwatch(convolution_takes, fourier_takes):
    """Two readings for each of nine convolutions, then for each of nine Fourier transforms, again and again."""
    now = 0.0
    for reading in count():
        if reading % 2:
            now += convolution_takes if reading // 2 % 18 < 9 else fourier_takes
        yield now


def blurred(readings):
    blur = nnunets_blur()
    assert blur.benchmark, "this has changed"
    blur.p_per_channel = 1
    gaussian_blur.time = readings.__next__
    np.random.seed(0)
    torch.manual_seed(0)
    image = blur(image=torch.rand(1, 32, 32, 32))["image"]
    return image, [bool(fft) for sizes in blur.benchmark_use_fft.values() for fft in sizes.values()]


(one, fourier), (other, also_fourier) = blurred(stopwatch(1.0, 2.0)), blurred(stopwatch(2.0, 1.0))
again, _ = blurred(stopwatch(1.0, 2.0))
difference = (one - other).abs()
print(f"Fourier transform chosen: {fourier} and {also_fourier}")
print(f"same seed, same stopwatch: equal {torch.equal(one, again)}")
changed = int((difference > 0).sum())
print(f"same seed, another stopwatch: {changed} of {one.numel()} voxels differ, by up to {difference.max():.1e}")
assert not any(fourier), "this has changed"
assert all(also_fourier), "this has changed"
assert torch.equal(one, again), "this has changed"
assert 0 < difference.max() < 1e-5, "this has changed"
PROGRAM
