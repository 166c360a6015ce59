"""A model's fusion networks, built by their settings and as trained."""

from __future__ import annotations

from dataclasses import dataclass

from context_propagation.core.image.slices import WHOLE_VOLUME
from context_propagation.core.propagation.attention_fusion import AttentionFusion
from context_propagation.core.propagation.edit_fusion import AdaptiveFusion
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_network import FusionNetwork, PaperFusion
from context_propagation.core.propagation.fusion_settings import FusionSettings


def build_fusion_network(settings: FusionSettings) -> FusionNetwork:
    """A network with fresh weights."""
    variants = {"paper": PaperFusion, "adaptive": AdaptiveFusion, "attention": AttentionFusion}
    return variants[settings.variant](settings)


@dataclass(frozen=True)
class Fusion:
    """The trained fusion networks of a base model, and what they were trained for.

    Attributes:
        networks: One per fold of the base model, in its order.
        level: The decoder level whose features they fuse.
        neighbours: N(s) in training was s and so many image slices on each side.
        far_thresholds: How sure they must be before a far voxel changes its label.
        content_hash: SHA-256 of the weights and settings.
    """

    networks: tuple[FusionNetwork, ...]
    level: int
    neighbours: int
    far_thresholds: FarThresholds
    content_hash: str

    reach = WHOLE_VOLUME
