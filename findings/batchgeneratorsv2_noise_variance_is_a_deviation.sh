#!/usr/bin/env bash
# nnU-Net adds noise while it trains: GaussianNoiseTransform of batchgeneratorsv2, with noise_variance=(0, 0.1). Others repeat that number.
#
# Expected: noise_variance is the variance of the noise: of .09 noise of standard deviation .3, on images of standard deviation 1.
# Seen (batchgeneratorsv2 0.3.6): the number is the standard deviation: .09, of variance .008, a tenth of what the name says. So too in
# RicianNoiseTransform, whose description says variance as well: both of its parts are drawn with that deviation.
# What to do: give the standard deviation; to repeat nnU-Net's noise in another library give that one (0, .1) as its range.
#
# Run it: bash findings/batchgeneratorsv2_noise_variance_is_a_deviation.sh   (a few minutes; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 batchgeneratorsv2==0.3.6 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform

GIVEN = 0.09

print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("batchgeneratorsv2", "torch")))
torch.manual_seed(0)
noise = GaussianNoiseTransform(noise_variance=GIVEN)(image=torch.zeros(1, 100, 100, 100))["image"]
print(f"Gaussian: noise_variance {GIVEN}: standard deviation {noise.std():.4f}, variance {noise.var():.5f}")
assert abs(noise.std() - GIVEN) < 0.001, "this has changed"
assert abs(noise.var() - GIVEN) > 0.08, "this has changed"

drawn = []
original = torch.Tensor.normal_


def listening(tensor, mean=0.0, std=1.0, **others):
    drawn.append(std)
    return original(tensor, mean, std, **others)


torch.Tensor.normal_ = listening
RicianNoiseTransform(noise_variance=(GIVEN, GIVEN))(image=torch.rand(1, 20, 20, 20))
print(f"Rician: noise_variance {GIVEN}: both parts drawn with standard deviation {drawn}")
assert drawn == [GIVEN, GIVEN], "this has changed"
PROGRAM
