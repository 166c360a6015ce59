"""A segment of a `.seg.nrrd` file, read back."""

from pathlib import Path

import numpy as np

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segmentation_storage import load_segmentation
from context_propagation.mrml.nodes.segments import segment_mask, segment_named
from context_propagation.mrml.nodes.volume_nodes import add_volume


def read_seg_nrrd(path: Path, segment: str | None, volume: SourceVolume) -> np.ndarray:
    """One segment on an image's grid, bool `[K, J, I]`; without a name, the only one."""
    scene = new_scene()
    node = load_segmentation(scene, path)
    return segment_mask(node, segment_named(node, segment), add_volume(scene, volume, "source"))
