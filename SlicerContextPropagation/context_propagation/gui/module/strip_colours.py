"""The colours of a strip with one column for each slice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from context_propagation.mrml.nodes.map_volumes import map_colors

Colour = tuple[int, int, int]


NOTHING: Colour = (225, 225, 225)


def strip_colours(doubt: np.ndarray, kinds: Sequence[tuple[Colour, Collection[int]]]) -> np.ndarray:
    """Colours of two rows: above how much of each slice is in doubt, below what was done to it.

    Args:
        doubt: One value per slice; the largest is the brightest, 0 the darkest.
        kinds: A colour and the slices that have it; a later one lies over those before it.

    Returns:
        uint8 `[2, slices, 3]`, red, green and blue.
    """
    most = doubt.max(initial=0.0)
    above = map_colors(doubt / most if most > 0 else np.zeros(len(doubt)))
    colours = np.full((2, len(doubt), 3), NOTHING, np.uint8)
    colours[0] = np.round(255 * above)
    for colour, slices in kinds:
        colours[1, sorted(index for index in slices if 0 <= index < len(doubt))] = colour
    return colours
