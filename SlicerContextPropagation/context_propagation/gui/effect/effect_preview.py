"""The open preview of "Propagate Edit": what would change, shown and told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import slice_place
from context_propagation.gui.slice_words import slices_text
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.preview_node import PropagationPreview
from context_propagation.mrml.nodes.segments import segment_name
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_world
from context_propagation.mrml.session.confirmed_slices import confirmable
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
        self._scene, self.selection, self.pending = scene, selection, pending
        self._kept_slices: set[int] = set()
        self._kept_regions: list[np.ndarray] = []
        self._lost: dict[str, int] = {}
        self._refused = 0
        self._counted_for: tuple[Any, ...] = ()
        self._node: PropagationPreview
        self._show_result()

    def _show_result(self) -> None:
        """What would change now, as a node in the scene."""
        self._result, volume = self.pending.result, self.selection.volume_nodes[0]
        if self._keeps:
            self._result = self._result.rejecting(self._kept_mask())
        result = self._result
        box = result.changed_box_kji or EMPTY
        changed, wanted = result.changed[slices_of(box)], result.segmentation[slices_of(box)]
        self._changed, self._added, removed = (
            BoxedMask.placed(result.changed.shape, box, voxels)
            for voxels in (changed, changed & wanted, changed & ~wanted)
        )
        self._counts = self._added.count, removed.count
        self._node = PropagationPreview(self._scene, volume, self._added, removed)
        self._counted_for = ()

    # -- what stays as it is

    def toggle_slice(self, index: int) -> None:
        """A slice stays as it is, or would change again.

        Raises:
            UserInputError: It was drawn or confirmed, or the segment has no voxels of its own on it.
        """
        confirmable(self.pending, [index])
        self._kept_slices ^= {index}
        self._show_anew()

    def toggle_region(self, ras: Sequence[float]) -> bool:
        """The changed region at a place in the world stays as it is, or would change again.

        Returns:
            Whether there is one.
        """
        from context_propagation.core.session.changed_region import changed_region

        volume = self.selection.volume_nodes[0]
        ijk = np.linalg.inv(volume_ijk_to_world(volume)) @ [*ras, 1.0]
        voxel = tuple(int(n) for n in np.floor(ijk[2::-1] + 0.5))
        region = changed_region(self.pending.result, voxel)
        if region is None:
            return False
        others = [kept for kept in self._kept_regions if not kept[voxel]]
        self._kept_regions = others if len(others) < len(self._kept_regions) else [*others, region]
        self._show_anew()
        return True

    def part(self, logic: ContextPropagationLogic) -> PendingPropagation:
        """What is to be applied: all of it, or what is left once `reject` was told what stays as it is."""
        if self._keeps:
            region = self._region_mask() if self._kept_regions else None
            self.pending = logic.reject(self.pending, sorted(self._kept_slices), region)
            self._kept_slices, self._kept_regions = set(), []
        return self.pending

    @property
    def _keeps(self) -> bool:
        return bool(self._kept_slices or self._kept_regions)

    def _kept_mask(self) -> np.ndarray:
        kept = self._region_mask()
        for index in self._kept_slices:
            kept[slice_place(self.pending.drawing.axis, index)] = True
        return kept

    def _region_mask(self) -> np.ndarray:
        """What lies outside the box that changed is in no region: only the memory inside it is touched."""
        result = self.pending.result
        mask, place = np.zeros(result.changed.shape, bool), slices_of(result.changed_box_kji or EMPTY)
        for kept in self._kept_regions:
            mask[place] |= kept[place]
        return mask

    def _show_anew(self) -> None:
        shown = self._node.shown
        self._node.close()
        self._show_result()
        self._node.shown = shown

    # -- what is shown and told

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
        if self._keeps:
            slices = ", ".join(str(index) for index in sorted(self._kept_slices)) or _("none")
            text = _("As they are: slices {slices}; regions: {count}.")
            lines.append(text.format(slices=slices, count=len(self._kept_regions)))
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
        per_slice = self._result.changed_per_slice
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
