"""What an edit says about the whole volume: the drawing against the prediction on the drawn slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

DESCRIPTION_SIZE = 8


LOGIT_LIMIT = 10.0


DISTANCE_UNIT_MM = 5.0


RING_VOXELS = 3


@dataclass(frozen=True)
class DrawnSlice:
    """One drawn slice and what the untouched features say on it.

    Attributes:
        drawn: bool `[H, W]`.
        window_prediction: bool `[H, W]`, R_0: the labels decoded from the untouched features.
        target_logit: `[H, W]`, of the untouched features.
        spacing_mm: Pixel size along H and W.
    """

    drawn: np.ndarray
    window_prediction: np.ndarray
    target_logit: np.ndarray
    spacing_mm: tuple[float, float]


def no_description() -> np.ndarray:
    """The description of no edit: zeros, float32 `[E]`."""
    return np.zeros(DESCRIPTION_SIZE, np.float32)


def describe(slices: Sequence[DrawnSlice]) -> np.ndarray:
    """Describe an edit in eight numbers, all about -1 to 1: averages over its slices, larger slices counting more.

    1. log ratio of drawn to predicted area
    2. the logit threshold that would give the drawn area
    3. mean logit on the drawn contour
    4. mean signed distance from the drawn contour to the predicted one, positive where the prediction is larger
    5. DSC of prediction and drawing
    6. mean logit inside the drawing
    7. mean logit in the ring around the drawing
    8. 1: there is an edit

    Returns:
        float32 `[E]`; zeros without a slice on which anything is drawn or predicted.
    """
    described = [(_weight(piece), _describe_slice(piece)) for piece in slices if _weight(piece)]
    if not described:
        return no_description()
    weights, values = zip(*described, strict=True)
    return np.average(np.stack(values), axis=0, weights=weights).astype(np.float32)


def _weight(piece: DrawnSlice) -> int:
    return int((piece.drawn | piece.window_prediction).sum())


def _describe_slice(piece: DrawnSlice) -> np.ndarray:
    drawn, logit = piece.drawn.astype(bool), np.clip(piece.target_logit, -LOGIT_LIMIT, LOGIT_LIMIT)
    window_prediction = piece.window_prediction.astype(bool)
    area, predicted_area = int(drawn.sum()), int(window_prediction.sum())
    contour = drawn & ~_eroded(drawn)
    ring = _dilated(drawn, RING_VOXELS) & ~drawn
    return np.array(
        [
            math.log((area + 1) / (predicted_area + 1)) / 2,
            _threshold(logit, area) / LOGIT_LIMIT,
            _mean(logit[contour]) / LOGIT_LIMIT,
            np.clip(_mean(_depth_mm(window_prediction, piece.spacing_mm)[contour]) / DISTANCE_UNIT_MM, -1, 1),
            2 * int((drawn & window_prediction).sum()) / (area + predicted_area),
            _mean(logit[drawn]) / LOGIT_LIMIT,
            _mean(logit[ring]) / LOGIT_LIMIT,
            1.0,
        ]
    )


def _threshold(logit: np.ndarray, area: int) -> float:
    """The logit above which `area` pixels lie."""
    descending = np.sort(logit.ravel())[::-1]
    return float(descending[min(area, descending.size - 1)])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _depth_mm(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Signed distance to a mask's outline, positive inside; 0 everywhere without an outline."""
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    image = _image(mask)
    image.SetSpacing(spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), np.float64)


def _eroded(mask: np.ndarray) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryErode(_image(mask), (1, 1), sitk.sitkCross)) > 0)


def _dilated(mask: np.ndarray, pixels: int) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryDilate(_image(mask), (pixels, pixels), sitk.sitkCross)) > 0)


def _image(mask: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(mask).astype(np.uint8))
