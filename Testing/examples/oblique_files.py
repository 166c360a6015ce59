"""The image of a ball in files whose axes are permuted, flipped or oblique."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from served import an_image

DIRECTIONS = {
    "straight": np.eye(3),
    "flipped": np.diag([-1.0, 1.0, -1.0]),
    "permuted": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "oblique": np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]]),
}
"""Columns i, j, k in L, P, S; each of length 1, and at right angles."""


def ball_volume(direction: str) -> sitk.Image:
    image = sitk.GetImageFromArray(an_image().channels[0])
    image.SetSpacing((1.0, 1.25, 1.5))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(DIRECTIONS[direction].ravel().tolist())
    return image


def write_ball(path: Path, direction: str) -> Path:
    sitk.WriteImage(ball_volume(direction), str(path), useCompression=path.suffix != ".nii")
    return path
