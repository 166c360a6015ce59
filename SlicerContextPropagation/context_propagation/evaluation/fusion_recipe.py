"""How fusion networks are trained and made safe: what a protocol and `train-fusion` are told alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from context_propagation.core.measures.regression import ALLOWED_REGRESSION
from context_propagation.core.propagation.fusion_settings import Variant


@dataclass(frozen=True, kw_only=True)
class FusionRecipe:
    """What decides the fusion networks, with the base model and the cases.

    Attributes:
        level: Decoder level of the features that are fused.
        fusion: Variant of the networks, see `FusionSettings`.
        width: Of their hidden layers, as a multiple of f's channels.
        most_hidden: Hidden channels are no more than this, so that the fusion network of a base network with 128
            features and more does not cost more than the rest of an edit.
        epochs: At most so many passes over the examples.
        averaging: Of the weights over the steps, see `TrainingSettings`.
        edits_per_case: Simulated edits of each training case.
        augmented_copies: With nnU-Net's intensity augmentation: `train-fusion` adds so many copies of each training
            case; in a protocol, of every so many cases and one more, all but one are such copies. Where above 0, the
            far thresholds are tried on a copy of each of their cases too.
        contour_styles: Further contours of each training case, see `contour_styles.contour_styles`.
        allowed_regression: Share of untouched slices that the far thresholds may make worse; see
            `choose_far_thresholds`.
        seed: Of weights, orders and simulated edits.
    """

    level: int = 2
    fusion: Variant = "adaptive"
    width: float = 2.0
    most_hidden: int = 128
    epochs: int = 12
    averaging: float = 0.0
    edits_per_case: int = 3
    augmented_copies: int = 1
    contour_styles: int = 0
    allowed_regression: float = ALLOWED_REGRESSION
    seed: int = 0

    def width_for(self, channels: int) -> float:
        """Width of a network whose f has so many channels."""
        return min(self.width, self.most_hidden / channels)

    def wrong(self) -> tuple[str, str] | None:
        """The first setting that cannot be used, and what to give; None where all can."""
        whole_numbers = (
            ("most_hidden", 1),
            ("epochs", 1),
            ("edits_per_case", 1),
            ("augmented_copies", 0),
            ("contour_styles", 0),
            ("seed", 0),
        )
        for name, least in whole_numbers:
            if getattr(self, name) < least:
                return name, "give at least 1" if least else "give 0 or more"
        if not 0 <= self.allowed_regression <= 1:
            return "allowed_regression", "give a share from 0 to 1"
        if not 0 <= self.averaging < 1:
            return "averaging", "give a share from 0 to below 1"
        if not 0 < self.width < math.inf:
            return "width", "give a finite number above 0"
        return None
