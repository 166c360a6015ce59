"""A line of an evaluation, all of whose values are given but those that a test is about."""

from typing import Any

from context_propagation.evaluation.results import CaseRow


def line(**changes: Any) -> dict[str, Any]:
    """Of one case and row, as a dictionary."""
    usual = {
        "fold": 0, "case": "a", "pick": "worst", "level": 2, "edits": 1, "row": "fusion", "scope": "whole", "slice": 5,
        "dsc": 0.8, "hd95_mm": 3.0, "sensitivity": 0.7, "specificity": 0.999, "surface_dice_2mm": 0.9,
        "added_path_length_mm": 120.0, "regressed_slices": 1, "untouched_slices": 10, "far_voxels_changed": 5,
        "far_voxels": 1000, "new_islands": 0, "seam_mm2": 12.0, "drawn_exact": True, "seconds": 1.5, "error": "",
    }  # fmt: skip
    return {**usual, **changes}


def case_row(**changes: Any) -> CaseRow:
    """The same as what an evaluation makes."""
    return CaseRow(**line(**changes))
