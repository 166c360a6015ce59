"""A large CT of no patient for the bundle that ships: a phantom on a grid as fine as that of a scanner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.phantom.phantom import make_phantom
from context_propagation.core.phantom.unseen_phantoms import UNSEEN


def write_ct(file: Path, size_ijk: tuple[int, int, int]) -> None:
    """Write the CT and its largest axial slice as the phantom's observer drew it.

    Args:
        file: Ends in .npz.
        size_ijk: Voxels; they share the phantom's field of view.
    """
    phantom = make_phantom(UNSEEN)
    ct, truth = (phantom.image(array) for array in (phantom.ct, phantom.gtv))
    grid = _grid(ct, size_ijk)
    image = sitk.GetArrayFromImage(sitk.Resample(ct, grid, sitk.Transform(), sitk.sitkLinear, -1000, sitk.sitkFloat32))
    mask = sitk.GetArrayFromImage(sitk.Resample(truth, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)) > 0
    index = int(mask.sum(axis=(1, 2)).argmax())
    to_lps = np.diag([*grid.GetSpacing(), 1.0])
    to_lps[:3, 3] = grid.GetOrigin()
    np.savez(file, image=image, to_lps=to_lps, index=index, drawn=mask[index])


def _grid(image: sitk.Image, size_ijk: tuple[int, int, int]) -> sitk.Image:
    """An empty image over the same field of view."""
    fine = [mm * n / wanted for mm, n, wanted in zip(image.GetSpacing(), image.GetSize(), size_ijk, strict=True)]
    grid = sitk.Image(list(size_ijk), sitk.sitkUInt8)
    grid.SetSpacing(fine)
    grid.SetOrigin(
        [o - mm / 2 + new / 2 for o, mm, new in zip(image.GetOrigin(), image.GetSpacing(), fine, strict=True)]
    )
    return grid
