"""Slices in words."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
from slicer.i18n import tr as _

from context_propagation.core.image.slices import SliceEdit
from context_propagation.gui.texts import translated
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume


def slices_text(volume_node: slicer.vtkMRMLScalarVolumeNode, edits: Sequence[SliceEdit]) -> str:
    """Slices of one plane in words: "axial slices 7, 8"."""
    plane = translated(planes_of_volume(volume_node)[edits[0].axis])
    numbers = ", ".join(str(edit.index) for edit in edits)
    words = _("{plane} slice {numbers}") if len(edits) == 1 else _("{plane} slices {numbers}")
    return words.format(plane=plane, numbers=numbers)
