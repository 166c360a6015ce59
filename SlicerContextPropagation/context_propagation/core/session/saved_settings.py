"""The settings of a saved session, checked value by value: nothing in it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast, get_args

from context_propagation.core.model.loss import Loss
from context_propagation.core.propagation.edit_record import FarRule
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session_settings import MOST_OFFSET_MM, SessionSettings, SeveralEdits
from context_propagation.core.storage.checked_entries import Entries

MAX_NUMBER = 10**12


def read_settings(plain: object, file: Path) -> SessionSettings:
    """The settings of a session, as far as they can be known to be usable.

    Args:
        plain: JSON that somebody else may have written.
        file: Where it is from, for messages.

    Raises:
        UserInputError: An entry is missing, unknown, or not usable.
    """
    entries = Entries(file, plain, "these edits cannot be replayed", "settings.")
    budget = entries.any("memory_budget_bytes")
    settings = SessionSettings(
        level=entries.whole_number("level", 1, 3),
        neighbours=entries.whole_number("neighbours", 0, MAX_NUMBER),
        update=_update_settings(entries.object("update")),
        window_border=entries.whole_number("window_border", 0, MAX_NUMBER),
        memory_budget_bytes=None if budget is None else entries.whole_number("memory_budget_bytes", 0, 2**63),
        several_edits=cast(SeveralEdits, entries.choice("several_edits", get_args(SeveralEdits))),
        far_rule=cast(FarRule, entries.choice("far_rule", get_args(FarRule))),
        tidy=entries.truth("tidy"),
        start_offset_mm=_between(entries, "start_offset_mm", MOST_OFFSET_MM),
    )
    entries.refuse_the_rest()
    return settings


def _update_settings(entries: Entries) -> UpdateSettings:
    iterations = entries.any("iterations")
    settings = UpdateSettings(
        optimizer=cast(Literal["lbfgs", "adam"], entries.choice("optimizer", ("lbfgs", "adam"))),
        loss=None if entries.any("loss") is None else cast(Loss, entries.choice("loss", get_args(Loss))),
        iterations=None if iterations is None else entries.whole_number("iterations", 1, MAX_NUMBER),
        learning_rate=entries.number("learning_rate", MAX_NUMBER, above_0=True),
        proximal_weight=entries.number("proximal_weight", MAX_NUMBER),
        loss_threshold=_loss_threshold(entries),
        patience=entries.whole_number("patience", 0, MAX_NUMBER),
        frozen_statistics=entries.truth("frozen_statistics"),
    )
    entries.refuse_the_rest()
    return settings


def _loss_threshold(entries: Entries) -> float:
    return _between(entries, "loss_threshold", MAX_NUMBER)


def _between(entries: Entries, name: str, most: float) -> float:
    """A number from -most to most."""
    value = entries.any(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not -most <= value <= most:
        entries.refuse(name, value, "a number" if most == MAX_NUMBER else f"a number from -{most:g} to {most:g}")
    return float(value)
