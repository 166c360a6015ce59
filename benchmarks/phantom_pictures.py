"""Pictures of the phantoms for the documentation: five cases of each kind, with their contours."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from context_propagation.core.phantom.phantom import Kind, Phantom, PhantomSettings, make_phantom

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
CASES = 5
SOFT_TISSUE_HU, MOST_SUV = (-140, 220), 8


def main() -> None:
    """Write `docs/images/phantom-<kind>.png`."""
    for kind in get_args(Kind):
        phantoms = [make_phantom(PhantomSettings(kind, number=number)) for number in range(CASES)]
        rows = 2 if phantoms[0].pet is None else 3
        figure = Figure(figsize=(2.6 * CASES, 2.5 * rows), layout="constrained")
        axes = figure.subplots(rows, CASES)
        for column, phantom in enumerate(phantoms):
            draw(phantom, axes[:, column])
        figure.savefig(IMAGES / f"phantom-{kind}.png", dpi=70)


def draw(phantom: Phantom, axes: list[Axes]) -> None:
    """Axial and coronal CT through the tumour's middle, and the coronal PET where there is one."""
    k, j, _ = (int(index) for index in np.median(np.argwhere(phantom.gtv), axis=0))
    i_mm, j_mm, k_mm = phantom.spacing_ijk_mm
    window = {"cmap": "gray", "vmin": SOFT_TISSUE_HU[0], "vmax": SOFT_TISSUE_HU[1]}
    axes[0].imshow(phantom.ct[k], aspect=j_mm / i_mm, **window)
    axes[0].contour(phantom.gtv[k], [0.5], colors="tab:red", linewidths=1)
    axes[1].imshow(phantom.ct[::-1, j], aspect=k_mm / i_mm, **window)
    axes[1].contour(phantom.gtv[::-1, j], [0.5], colors="tab:red", linewidths=1)
    if phantom.pet is not None:
        axes[2].imshow(phantom.pet[::-1, j], aspect=k_mm / i_mm, cmap="inferno", vmin=0, vmax=MOST_SUV)
        axes[2].contour(phantom.gtv[::-1, j], [0.5], colors="white", linewidths=1)
    for one in axes:
        one.axis("off")


if __name__ == "__main__":
    main()
