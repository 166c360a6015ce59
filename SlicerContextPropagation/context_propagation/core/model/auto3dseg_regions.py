"""The regions of a MONAI Auto3DSeg model whose output channels may overlap (`sigmoid`), read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.auto3dseg_files import AGAIN, BRATS, LABELS, MODEL

Values = tuple[int, ...]


BRATS_REGIONS: tuple[Values, ...] = ((1, 2, 3), (1, 3), (3,))
"""Whole tumour, core, enhancing tumour, in the labelmap that the extension writes: 2, over it 1, over both 3."""


LARGEST_VALUE = 65535


AS_BUNDLE = "use the model as a MONAI bundle, whose metadata.json names each channel"


@dataclass(frozen=True)
class Regions:
    """What the output channels stand for.

    Attributes:
        names: One for each channel.
        members: The values of each in a predicted labelmap, rising.
        trained: The same in the training's labelmaps.
    """

    names: tuple[str, ...]
    members: tuple[Values, ...]
    trained: tuple[Values, ...]

    def label(self, number: int) -> Values:
        """A region's own values first, then those of the regions inside it.

        Raises:
            UserInputError: A labelmap, with one value per voxel, cannot hold the region.
        """
        region = set(self.members[number])
        for name, other in zip(self.names, self.members, strict=True):
            if name != self.names[number] and _only_overlap(region, set(other)):
                raise UserInputError(
                    f"The regions {self.names[number]} {self._told(number)} and {name} ({_listed(other)}) overlap, and "
                    "neither lies within the other, which a labelmap cannot hold; " + AS_BUNDLE
                )
        own = self._own(number)
        if not own:
            raise UserInputError(
                f"The region {self.names[number]} {self._told(number)} consists of smaller regions alone, so that a "
                "labelmap has no value for what is added to it; refine one of these"
            )
        return (*own, *(value for value in self.members[number] if value not in own))

    def outer(self, number: int) -> Values:
        """The own values of the regions around a region, the innermost first."""
        around = [n for n, other in enumerate(self.members) if set(other) > set(self.members[number])]
        around.sort(key=lambda n: len(self.members[n]))
        return tuple(chain.from_iterable(self._own(n) for n in around))

    def other_training(self, number: int) -> Values:
        """A region's values in the training's labelmaps, where they are others than in a predicted one; else none."""
        return () if self.trained[number] == self.members[number] else self.trained[number]

    def _own(self, number: int) -> Values:
        """The values that are no smaller region's."""
        region = set(self.members[number])
        inside = set(chain.from_iterable(other for other in self.members if set(other) < region))
        return tuple(sorted(region - inside))

    def _told(self, number: int) -> str:
        return f"({_listed(self.members[number])})"


def read_regions(
    folder: Path, config: Mapping[str, Any], names: Mapping[int, str], channels: int, kind: str
) -> Regions:
    """Read which values of a labelmap belong to each output channel, and what each is called.

    Args:
        folder: The model's.
        config: Its configuration.
        names: The labels' names, by value.
        channels: Output channels of the network.
        kind: See `kind_in_extension`.

    Raises:
        UserInputError: Nothing says it, or what says it cannot be so.
    """
    file = folder / MODEL
    trained = _class_index(config, channels, file)
    if channels == 1:
        if set(names) != {1}:
            raise UserInputError(
                f"'{file}' has one region and {LABELS} names {_listed(sorted(names))}; name 1 alone there"
            )
        return Regions((names[1],), ((1,),), trained or ((1,),))
    nested = trained is None or all(set(a) > set(b) for a, b in pairwise(trained))
    members = BRATS_REGIONS if kind == BRATS and channels == len(BRATS_REGIONS) and nested else trained
    if members is None:
        raise UserInputError(
            f"'{file}' has regions that overlap (sigmoid) and no class_index, which says the labels in each; if it "
            f"is a BraTS model of the extension, give the folder its name back ({BRATS}-...), else {AS_BUNDLE}"
        )
    return Regions(_names(config, names, members, file), members, trained or members)


def _class_index(config: Mapping[str, Any], channels: int, file: Path) -> tuple[Values, ...] | None:
    index = config.get("class_index")
    if not index:
        return None
    if not isinstance(index, list | tuple) or len(index) != channels or not all(map(_are_values, index)):
        raise UserInputError(
            f"'{file}' has the class_index {index!r:.100}, not the labels of each of {channels} regions; {AGAIN}"
        )
    return tuple(tuple(sorted(values)) for values in index)


def _are_values(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) > 0
        and all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= LARGEST_VALUE for v in values)
        and len(set(values)) == len(values)
    )


def _names(
    config: Mapping[str, Any], labels: Mapping[int, str], members: tuple[Values, ...], file: Path
) -> tuple[str, ...]:
    """The configuration's names; where it has none, those of the labels in each region."""
    given = config.get("class_names")
    if isinstance(given, list | tuple) and len(given) == len(members) and not _made_up(given):
        if all(isinstance(name, str) and name.strip() for name in given) and len(set(given)) == len(given):
            return tuple(name.strip() for name in given)
        raise UserInputError(f"'{file}' has the class_names {given!r:.100}, not one for each region; {AGAIN}")
    unnamed = sorted(set(chain.from_iterable(members)) - set(labels))
    if unnamed:
        raise UserInputError(
            f"'{file}' has no names for its regions, nor has {LABELS} for {_listed(unnamed)}; add them"
        )
    return tuple(" + ".join(labels[value] for value in values) for values in members)


def _made_up(names: list[Any] | tuple[Any, ...]) -> bool:
    """Whether Auto3DSeg numbered the channels for its log, having no names."""
    return all(name == f"acc_{number}" for number, name in enumerate(names))


def _only_overlap(one: set[int], other: set[int]) -> bool:
    """Whether two regions share labels, and neither has more than the other's."""
    return bool(one & other) and not one < other and not other < one


def _listed(values: Values | list[int]) -> str:
    return ", ".join(map(str, values))
