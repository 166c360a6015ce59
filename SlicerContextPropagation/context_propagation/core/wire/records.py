"""Edits so far, by name: what the server computed of them stays there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.propagation.update_settings import StopReason, UpdateReport
from context_propagation.core.session.saved_session import plain_edits, read_edits


@dataclass(frozen=True)
class NamedRecord(EditRecord):
    """A record whose features and margins a server keeps.

    Attributes:
        key: Their name there.
        preview: The name of the preview that they came from.
    """

    key: str = ""
    preview: str = ""


class UnknownRecords(Exception):
    """A server does not have (any more) what it computed of some edits.

    Attributes:
        keys: Theirs.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(keys)
        self.keys = list(keys)


def plain_standing(records: Sequence[EditRecord]) -> list[dict[str, Any]]:
    """Records as a client sends them: names, and confirmed slices in full, as no server need have seen these."""
    return [{"key": one.key} if isinstance(one, NamedRecord) else _confirmed(one) for one in records]


def read_standing(
    plain: Sequence[Mapping[str, Any]], known: Mapping[str, EditRecord], shape_kji: tuple[int, int, int]
) -> tuple[EditRecord, ...]:
    """What a server takes for them.

    Args:
        plain: From `plain_standing`, or from somebody else.
        known: What it computed.
        shape_kji: Of the image.

    Raises:
        UnknownRecords: It does not have some of them.
        UserInputError: Something in them cannot be used.
    """
    missing = [str(one["key"]) for one in plain if one.get("key") and one["key"] not in known]
    if missing:
        raise UnknownRecords(missing)
    return tuple(known[one["key"]] if one.get("key") else _read_confirmed(one, shape_kji) for one in plain)


def _confirmed(record: EditRecord) -> dict[str, Any]:
    return {
        "edits": plain_edits(record.edits),
        "neighbours": record.neighbours,
        "drawn_at": list(record.drawn_at),
    }


def _read_confirmed(plain: Mapping[str, Any], shape_kji: tuple[int, int, int]) -> EditRecord:
    edits, drawn_at = read_edits(plain["edits"], shape_kji), tuple(int(at) for at in plain["drawn_at"])
    if not edits or len(drawn_at) != len(edits) or len({edit.axis for edit in edits}) > 1:
        raise UserInputError("Confirmed slices must lie in one plane, each with the time when it was confirmed")
    return EditRecord(edits, int(plain["neighbours"]), near=(), drawn_at=drawn_at, confirmed=True)


def plain_records(records: Sequence[EditRecord], keys: Mapping[int, str]) -> list[dict[str, Any]]:
    """Records as a server answers.

    Args:
        records: After a preview.
        keys: By the identity of each that was computed, its name.
    """
    return [
        {
            **_confirmed(one),
            "confirmed": one.confirmed,
            "key": keys.get(id(one), ""),
            "updates": [plain_update(update) for update in one.updates],
        }
        for one in records
    ]


def read_records(
    plain: Sequence[Mapping[str, Any]], shape_kji: tuple[int, int, int], preview: str
) -> tuple[EditRecord, ...]:
    """What a client takes for them; `preview` is the name of that which they came from."""
    return tuple(
        _read_confirmed(one, shape_kji)
        if one["confirmed"]
        else NamedRecord(
            edits=read_edits(one["edits"], shape_kji),
            neighbours=int(one["neighbours"]),
            near=(),
            updates=tuple(read_update(update) for update in one["updates"]),
            drawn_at=tuple(int(at) for at in one["drawn_at"]),
            key=str(one["key"]),
            preview=preview,
        )
        for one in plain
    )


def plain_update(update: UpdateReport) -> list[Any]:
    """JSON knows no NaN."""
    losses = [None if math.isnan(loss) else loss for loss in (update.loss_before, update.loss_after)]
    return [*losses, update.evaluations, update.stop_reason]


def read_update(plain: Sequence[Any]) -> UpdateReport:
    """What `plain_update` gave."""
    before, after, evaluations, reason = plain
    first, last = (math.nan if loss is None else float(loss) for loss in (before, after))
    return UpdateReport(first, last, int(evaluations), cast(StopReason, str(reason)))
