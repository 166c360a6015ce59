"""The open preview of "Propagate Edit": what would change, shown and told."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import slices_of
from context_propagation.gui.slice_words import slices_text
from context_propagation.mrml.nodes.preview_node import PropagationPreview
from context_propagation.mrml.nodes.segments import segment_name
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.pending_propagation import PendingPropagation
from context_propagation.mrml.writing.foreseen_losses import count_refused, lost_by_others


def waits_elsewhere(selection: Selection) -> str:
    """That a preview is open in another editor.

    Args:
        selection: What was propagated there.
    """
    name = segment_name(selection.segmentation_node, selection.segment_id)
    return _("A preview of '{name}' waits in another Segment Editor: apply it there, or discard it.").format(name=name)


class OpenPreview:
    """A propagation that waits for Apply or Discard.

    Args:
        scene: Where its node goes.
        selection: What was propagated.
        pending: The propagation.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, selection: Selection, pending: PendingPropagation) -> None:
        self.selection, self.pending = selection, pending
        result, volume = pending.result, selection.volume_nodes[0]
        self._lost: dict[str, int] = {}
        self._refused = 0
        self._counted_for: tuple[Any, ...] = ()
        box = result.changed_box_kji or EMPTY
        changed, wanted = result.changed[slices_of(box)], result.segmentation[slices_of(box)]
        self._changed, self._added, removed = (
            BoxedMask.placed(result.changed.shape, box, voxels)
            for voxels in (changed, changed & wanted, changed & ~wanted)
        )
        self._counts = self._added.count, removed.count
        self._node = PropagationPreview(scene, volume, self._added, removed)

    def show(self, on: bool) -> None:
        """Show the result, or the segment as it was drawn."""
        self._node.shown = on

    def close(self) -> None:
        """Take it out of the scene; the propagation is not discarded by this."""
        self._node.close()

    @property
    def whose(self) -> str:
        """Whose preview it is, where something else is selected."""
        name = segment_name(self.selection.segmentation_node, self.selection.segment_id)
        return _("The preview is of '{name}': select it and its volume to apply, or discard.").format(name=name)

    def text(self, editor_node: slicer.vtkMRMLSegmentEditorNode) -> str:
        """What Apply would do, in a few lines.

        Args:
            editor_node: Its overwrite mode says whether other segments would lose voxels, its masks what is refused.
        """
        selection, volume = self.selection, self.selection.volume_nodes[0]
        counted_for = self._settings(editor_node)
        if counted_for != self._counted_for:
            where = selection.segmentation_node, selection.segment_id, volume
            self._lost = lost_by_others(*where, self._added, editor_node.GetOverwriteMode())
            self._refused = count_refused(editor_node, *where, self._changed)
            self._counted_for = counted_for
        lines = [_("Redrawn: {slices}; kept exactly as drawn.").format(slices=slices_text(volume, self.pending.edits))]
        lines.append(self._changes())
        lines += [_("'{name}' would lose {count} voxels.").format(name=n, count=c) for n, c in self._lost.items()]
        if self._refused:
            lines.append(_("Masking would refuse {count} of these voxels.").format(count=self._refused))
        return "\n".join([*lines, *self.pending.result.messages])

    def recount(self) -> None:
        """Other segments were edited: count anew when the text is asked for."""
        self._counted_for = ()

    def _settings(self, editor_node: slicer.vtkMRMLSegmentEditorNode) -> tuple[Any, ...]:
        """What the counts depend on, beside the voxels of other segments."""
        node = self.selection.segmentation_node
        display, ids = node.GetDisplayNode(), node.GetSegmentation().GetSegmentIDs()
        return (
            editor_node.GetOverwriteMode(),
            editor_node.GetMaskMode(),
            editor_node.GetMaskSegmentID(),
            editor_node.GetSourceVolumeIntensityMask(),
            editor_node.GetSourceVolumeIntensityMaskRange(),
            tuple((one, display is None or display.GetSegmentVisibility(one)) for one in ids),
        )

    def _changes(self) -> str:
        text, left = self._changed_slices(), len(self.pending.result.left_alone)
        if left:
            text += " " + _("Slices left alone for thin evidence: {count}.").format(count=left)
        return text

    def _changed_slices(self) -> str:
        per_slice = self.pending.result.changed_per_slice
        if not per_slice:
            return _("Nothing else would change.")
        return _(
            "Would change: slices {first} to {last} ({count}), {added} voxels more, {removed} less; {scope}."
        ).format(
            count=len(per_slice),
            first=min(per_slice),
            last=max(per_slice),
            added=self._counts[0],
            removed=self._counts[1],
            scope=self.pending.result.scope,
        )
