"""The general far network's no-edit control: the same network, trained and run on what was predicted, not drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from context_propagation.core.bundle.general_file import CONTROL, load_general_far
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.general_far import GeneralFar, TunedGeneral
from context_propagation.core.propagation.updated_features import UpdatedFeatures


class BlindGeneralFar(GeneralFar):
    """Knows where a slice was drawn, and in place of the drawing takes what the model predicts there."""

    def seen(
        self, edit: NetworkEdit, updated: Sequence[UpdatedFeatures]
    ) -> tuple[NetworkEdit, Sequence[UpdatedFeatures]]:
        """See `GeneralFar`."""
        del updated
        return without_drawing(edit), ()


class BlindTunedGeneral(BlindGeneralFar, TunedGeneral):
    """The same of one that was trained further."""


def blind(tuned: TunedGeneral) -> BlindTunedGeneral:
    """The same network, shown no edit."""
    return BlindTunedGeneral(**{item.name: getattr(tuned, item.name) for item in fields(tuned)})


def shipped_pair() -> tuple[GeneralFar, BlindGeneralFar]:
    """The network that ships and its control, with the same far thresholds.

    Raises:
        UserInputError: Something of them is missing or damaged.
    """
    general, control = load_general_far(), load_general_far(weights=CONTROL)
    return general, BlindGeneralFar(control.network, general.far_thresholds, control.content_hash)


def without_drawing(edit: NetworkEdit) -> NetworkEdit:
    """The edit that draws what was predicted."""
    return replace(edit, drawn=edit.window_prediction)
