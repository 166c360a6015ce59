"""The rows that every table has, and what they are measured by."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, get_args

from context_propagation.core.measures.accuracy import Measures
from context_propagation.training.fusion.fusion_controls import InputsShown

FUSION, NO_EDIT, ORACLE = "fusion", "no-edit control", "oracle"


CALIBRATION = "calibration control"
GENERAL_PAIR = ("general", "general, no-edit control")


PAPER_PAIR = ("paper's fusion", "paper's fusion, no-edit control")


DRAWN_INTERPOLATION = "contour interpolation, drawn slices"
"""Between the slices drawn, the baseline elsewhere."""


INTERPOLATIONS = ("contour interpolation ±5", "contour interpolation ±10")


ROWS = (
    "baseline",
    "paste",
    "update",
    FUSION,
    NO_EDIT,
    "edit-as-input control",
    *GENERAL_PAIR,
    CALIBRATION,
    *INTERPOLATIONS,
    DRAWN_INTERPOLATION,
    ORACLE,
)
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


Pick = Literal["worst", "largest", "suggested"]
"""How the slice that is edited is chosen: the one with the largest Hausdorff distance, the one with most of the truth,
or the one that the session suggests, which knows no truth."""


ALL_PICKS: tuple[Pick, ...] = get_args(Pick)


PICKS: tuple[Pick, ...] = ("worst", "largest")
"""Of the tables of one edit."""


MEASURES = tuple(field.name for field in fields(Measures))


SCOPE_TITLES = {"whole": "whole", "near": "near slices", "far": "far slices"}


DEFAULT_LEVEL = 2


NEEDED_NO_EDIT = "needed no edit"
"""In place of an error where the baseline equals the ground truth."""


SETTING = ["pick", "level", "edits"]
