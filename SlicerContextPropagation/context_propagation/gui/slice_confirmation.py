"""Confirm the slice that somebody looks at: module and effect alike."""

from __future__ import annotations

from slicer.i18n import tr as _

from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.gui.slice_views import slice_in_view
from context_propagation.gui.texts import translated
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume


def confirm_slice_in_view(logic: ContextPropagationLogic) -> str:
    """Confirm the slice that a slice view shows: of the chosen plane, or of that which was worked in last.

    Args:
        logic: Has a session.

    Returns:
        What was done, in words.

    Raises:
        UserInputError: No view shows one, or it was drawn, redrawn or confirmed.
    """
    assert logic.selection is not None  # there is a session
    assert logic.doubt is not None
    volume = logic.selection.volume_nodes[0]
    planes = planes_of_volume(volume)
    axis = logic.doubt.axis if logic.plane is None else axis_of_plane(planes, logic.plane)
    index = slice_in_view(volume, axis)
    logic.confirm_slices([index], planes[axis])
    plane = translated(planes[axis])
    return _("Confirmed: {plane} slice {index}; it stays as it is.").format(plane=plane, index=index)
