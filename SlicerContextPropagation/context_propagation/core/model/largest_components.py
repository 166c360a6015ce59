"""The largest connected parts of a mask, as MONAI's `KeepLargestConnectedComponent` keeps them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk


@dataclass(frozen=True)
class LargestComponents:
    """What is kept of a mask.

    Attributes:
        number: So many parts.
        corners: Voxels that touch at an edge or a corner are connected too, not only those that share a face.
    """

    number: int = 1
    corners: bool = True

    def of(self, mask: np.ndarray) -> np.ndarray:
        """A mask bool `[K, J, I]` with its largest parts alone; of equal ones the first."""
        parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), self.corners)
        ordered = sitk.GetArrayFromImage(sitk.RelabelComponent(parts))  # by size, from 1
        kept: np.ndarray = (ordered > 0) & (ordered <= self.number)
        return kept
