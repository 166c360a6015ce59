"""The rows and columns that every table has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from context_propagation.training.fusion.fusion_controls import InputsShown

if TYPE_CHECKING:
    pass


FUSION, NO_EDIT, ORACLE = "fusion", "no-edit control", "oracle"


PAPER_PAIR = ("paper's fusion", "paper's fusion, no-edit control")


INTERPOLATIONS = ("contour interpolation ±5", "contour interpolation ±10")


ROWS = ("baseline", "paste", "update", FUSION, NO_EDIT, "edit-as-input control", *INTERPOLATIONS, ORACLE)
"""Names of the rows in their order; further ones follow in order of appearance."""


TRAINED_ROWS: tuple[tuple[str, InputsShown], ...] = (
    (FUSION, "edit"),
    (NO_EDIT, "no edit"),
    ("edit-as-input control", "drawn slice only"),
    (ORACLE, "hidden truth"),
    (PAPER_PAIR[0], "edit"),
    (PAPER_PAIR[1], "no edit"),
)
"""Rows with a fusion network of their own, and what it sees."""


PICKS = ("worst", "largest")


MEASURES = ("dsc", "hd95_mm", "sensitivity", "specificity", "surface_dice_2mm", "added_path_length_mm")


SCOPE_TITLES = {"whole": "whole", "near": "near slices", "far": "far slices"}


COMPARED_SCOPES = ("whole", "near", "far")


DEFAULT_LEVEL = 2


NEEDED_NO_EDIT = "needed no edit"
"""In place of an error where the baseline equals the ground truth."""


SETTING = ["pick", "level", "edits"]


# fmt: off
COLUMNS = (
    "fold", "case", *SETTING, "row", "scope", "slice", *MEASURES, "regressed_slices", "untouched_slices",
    "far_voxels_changed", "far_voxels", "drawn_exact", "seconds", "error",
)
