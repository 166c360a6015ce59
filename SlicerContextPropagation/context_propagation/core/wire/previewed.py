"""What edits would give, as JSON: the voxels that change, and what a user is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.session.session_settings import PropagationResult
from context_propagation.core.session.step import Step
from context_propagation.core.wire.records import plain_records, plain_update, read_records, read_update

if TYPE_CHECKING:
    from context_propagation.core.session.preview import Preview  # needs torch


@dataclass(frozen=True)
class RemotePreview:
    """What edits would give; as `Preview`, but for what only its server can tell."""

    step: Step
    result: PropagationResult


def plain_preview(preview: Preview, keys: Mapping[int, str]) -> dict[str, Any]:
    """What a server answers: of the whole image nothing is made, as only voxels that change travel.

    Args:
        preview: What edits would give.
        keys: See `plain_records`.
    """
    step, changed = preview.step, preview.changed
    points = np.stack(np.unravel_index(step.flipped, changed.shape), axis=1)
    return {
        "flipped": BoxedMask.of_points(changed.shape, points).plain(),
        "made_at": step.made_at,
        "records": plain_records(step.after, keys),
        "changed": changed.plain(),
        "left_alone": list(preview.left_alone),
        "updates": [plain_update(update) for update in preview.record.updates],
        "scope": preview.scope,
        "messages": list(preview.messages),
    }


def read_preview(
    plain: Mapping[str, Any],
    name: str,
    edits: Sequence[SliceEdit],
    before: tuple[EditRecord, ...],
    segmentation: np.ndarray,
) -> RemotePreview:
    """What a client takes for it.

    Args:
        plain: The answer.
        name: Of the preview.
        edits: What was drawn, by slice.
        before: The records before.
        segmentation: bool `[K, J, I]`, before; not written into.

    Raises:
        UserInputError: A mask in it is damaged.
        KeyError, TypeError, ValueError: It is of another form.
    """
    k, j, i = segmentation.shape
    flips, changed = (BoxedMask.from_plain(plain[word], (k, j, i)) for word in ("flipped", "changed"))
    starts, axis = [start for start, _ in flips.box], edits[0].axis
    inside = [along + start for along, start in zip(np.nonzero(flips.inside), starts, strict=True)]
    flipped = np.ravel_multi_index(inside, (k, j, i))
    after, values = read_records(plain["records"], (k, j, i), name), ~segmentation.reshape(-1)[flipped]
    step = Step(tuple(edits), before, after, flipped, values, str(plain["made_at"]))
    counts, first = changed.inside.sum(axis=tuple(a for a in range(3) if a != axis)), changed.box[axis][0]
    result_mask = segmentation.copy()
    result_mask.reshape(-1)[flipped] = values
    result = PropagationResult(
        segmentation=result_mask,
        changed=changed.mask,
        axis=axis,
        edited_slices=tuple(edit.index for edit in edits),
        changed_per_slice={first + int(s): int(counts[s]) for s in np.flatnonzero(counts)},
        left_alone=tuple(int(index) for index in plain["left_alone"]),
        changed_box_kji=None if changed.is_empty else changed.box,
        updates=tuple(read_update(update) for update in plain["updates"]),
        scope=str(plain["scope"]),
        messages=tuple(str(message) for message in plain["messages"]),
    )
    return RemotePreview(step, result)
