#!/usr/bin/env bash
# ITK's morphological contour interpolation fills the slices between two drawn ones. In its WebAssembly package it may dilate by a ball in
# place of the documented default, a cross: use_ball_structuring_element=True.
#
# Expected: between a square of 3 x 3 and one of 11 x 11 around it, two dilations lie half way (repeated dilations: no_use_distance_transform).
# By a cross they make an octagon with cut corners, 9 voxels wide; by ITK's ball of radius 1, which is a block of 3 x 3, a square.
# Seen (itkwasm-morphological-contour-interpolation 2.0.0): the default gives the square, and "ball" the octagon: the flag's sense is turned
# round. ITK's own Python package, itk-morphologicalcontourinterpolation 2.1.2, gives the octagon by default.
# What to do: pass True for the cross, and pin the version.
#
# Run it: bash findings/itkwasm_contour_ball_flag_means_cross.sh   (about a minute; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet itkwasm-morphological-contour-interpolation==2.0.0 \
    itkwasm-morphological-contour-interpolation-wasi==2.0.0 itkwasm==1.0b201 wasmtime==50.0.1
cd "$folder"
XDG_CACHE_HOME="$folder/cache" ITKWASM_CACHE_DIR="$folder/cache" venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
from itkwasm import Image, ImageType
from itkwasm_morphological_contour_interpolation import morphological_contour_interpolation

name = "itkwasm-morphological-contour-interpolation"
print("python", platform.python_version(), name, version(name))
voxels = np.zeros((5, 15, 15), np.uint8)
voxels[0, 6:9, 6:9] = voxels[4, 2:13, 2:13] = 1
image = Image(
    ImageType(dimension=3, componentType="uint8"),
    origin=[0.0] * 3,
    spacing=[1.0] * 3,
    direction=np.eye(3),
    size=[15, 15, 5],
    data=voxels,
)
middle = {}
for ball in (False, True):
    filled = morphological_contour_interpolation(
        image, axis=2, no_use_distance_transform=True, use_ball_structuring_element=ball
    )
    middle[ball] = np.asarray(filled.data)[2] > 0
    print(f"use_ball_structuring_element={ball}")
    print("\n".join("".join(".#"[int(voxel)] for voxel in row) for row in middle[ball][2:13, 2:13]))


def is_a_square(mask):
    rows, columns = np.nonzero(mask)
    return mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


assert is_a_square(middle[False]) and not is_a_square(middle[True]), "this has changed"
assert not middle[True][3, [5, 9]].any() and middle[True][3, 6:9].all(), "this has changed"
PROGRAM
