"""What is written as an ROI of a structure set, or as a segment of a DICOM segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from context_propagation.core.image.boxed_mask import BoxedMask

Rgb = tuple[int, int, int]
"""Red, green, blue from 0 to 255."""


Code = tuple[str, str, str]
"""Value, coding scheme, meaning."""


COLOR: Rgb = (230, 60, 60)
"""Of what has none."""


TISSUE: Code = ("85756007", "SCT", "Tissue")
"""What a segment is where nobody says it, in Slicer too."""


TARGETS: dict[str, Code] = {
    "GTV": ("228791009", "SCT", "Gross tumor volume"),
    "CTV": ("228792002", "SCT", "Clinical target volume"),
    "PTV": ("228793007", "SCT", "Planning target volume"),
}
"""RT ROI Interpreted Type of the target volumes, and their codes."""


TARGET_CATEGORY: Code = ("309825002", "SCT", "Spatial and Relational Concept")
"""A target volume is a place that is treated, not an organ."""


@dataclass(frozen=True, eq=False)
class Structure:
    """One contour with its name and what it is.

    Attributes:
        name: Of the ROI or segment.
        voxels: On the image's grid.
        color: Its colour.
        codes: Category and type, where somebody chose them.
        number: Of the ROI that it came from, where that is known; it decides between ROIs of one name.
    """

    name: str
    voxels: BoxedMask
    color: Rgb = COLOR
    codes: tuple[Code, Code] | None = None
    number: int | None = None

    @classmethod
    def of(cls, name: str, mask: np.ndarray) -> Structure:
        """One of which nothing but the name is known; `mask` is bool `[K, J, I]` on the image's grid."""
        return cls(name, BoxedMask.of(mask))

    @property
    def mask(self) -> np.ndarray:
        """Made anew each time, bool `[K, J, I]`."""
        return self.voxels.mask

    @property
    def interpreted_type(self) -> str:
        """GTV, CTV or PTV, by its codes, otherwise by how its name begins; empty for anything else."""
        by_code = {code[:2]: target for target, code in TARGETS.items()}
        coded = by_code.get(self.codes[1][:2]) if self.codes else None
        return coded or next((target for target in TARGETS if self.name.upper().startswith(target)), "")

    @property
    def property_codes(self) -> tuple[Code, Code]:
        """Category and type: those that were chosen, otherwise a target volume's by its name, otherwise tissue."""
        if self.codes is not None:
            return self.codes
        target = TARGETS.get(self.interpreted_type)
        return (TISSUE, TISSUE) if target is None else (TARGET_CATEGORY, target)
