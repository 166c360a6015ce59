"""An image and masks of a ball; one slice of it redrawn."""

import numpy as np
import SimpleITK as sitk

SHAPE_KJI = (20, 24, 28)
EDITED_SLICE = 12
SPACING = (1.0, 1.25, 1.5)
ORIGIN = (10.0, -20.0, 30.0)


def sitk_image(array: np.ndarray, **geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.get("spacing", SPACING))
    image.SetOrigin(geometry.get("origin", ORIGIN))
    return image


def ball_mask() -> np.ndarray:
    k, j, i = np.ogrid[: SHAPE_KJI[0], : SHAPE_KJI[1], : SHAPE_KJI[2]]
    return (k - 10) ** 2 / 25 + (j - 12) ** 2 / 36 + (i - 14) ** 2 / 49 < 1


def edited_mask() -> np.ndarray:
    mask = ball_mask()
    mask[EDITED_SLICE] = np.roll(mask[EDITED_SLICE], 2, axis=1)
    return mask
