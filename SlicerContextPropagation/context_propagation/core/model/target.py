"""The label or region that is refined. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from context_propagation.core.errors import UserInputError


@dataclass(frozen=True)
class Target:
    """The label or region that is refined.

    Attributes:
        name: Its name.
        channel: The network's output channel.
        label: Its value in a predicted labelmap; of a region its own value first, then those of the regions inside it.
        trained: Its values in a labelmap of the training, where they are others than `label`; else empty.
        outer: The values, in a predicted labelmap, of the regions that this one lies in, the innermost first.
    """

    name: str
    channel: int
    label: tuple[int, ...]
    trained: tuple[int, ...] = ()
    outer: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        try:
            self.name.encode()
        except UnicodeEncodeError:
            shown = ascii(self.name)
            raise UserInputError(
                f"The model's label {shown:.60} holds half a character, which no file can store; correct its name"
            ) from None

    @property
    def only_trained(self) -> tuple[int, ...]:
        """Values that it has in labelmaps of the training alone."""
        return tuple(value for value in self.trained if value not in self.label)

    @property
    def truth_values(self) -> tuple[int, ...]:
        """Its values in a labelmap as the training had them."""
        return self.trained or self.label


def chosen_label(names: Sequence[str], values: Sequence[object], label: str | int | None) -> int:
    """The number (from 0) of the label that a user names.

    Args:
        names: The labels that can be refined.
        values: The value of each in a labelmap; for a region, its values.
        label: Its name or value; None where there is only one.

    Raises:
        UserInputError: Unknown, or not given where there are several.
    """
    known = ", ".join(f"{name} ({value})" for name, value in zip(names, values, strict=True))
    if label is None:
        if len(names) != 1:
            raise UserInputError(f"The model has several labels: {known}; name the one to refine as the label")
        return 0
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        if str(label) == name or (isinstance(value, int) and str(label) == str(value)):
            return number
    raise UserInputError(f"The model has no label '{label}'; it has {known}")
