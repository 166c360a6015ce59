"""The strip's colours, of slices made up by hand."""

import numpy as np
import pytest

pytest.importorskip("slicer")

from context_propagation.gui.module.strip_colours import NOTHING, strip_colours
from context_propagation.mrml.nodes.map_volumes import STOPS

DARKEST, MIDDLE, BRIGHTEST = ([round(255 * c) for c in STOPS[n]] for n in (0, 2, 4))
LIGHT, BLUE, GREEN = (86, 180, 233), (0, 114, 178), (0, 158, 115)


def test_the_slice_in_most_doubt_is_the_brightest_and_one_without_doubt_the_darkest():
    above, _ = strip_colours(np.array([0.0, 4.0, 8.0]), []).tolist()

    assert above == [DARKEST, MIDDLE, BRIGHTEST]


def test_slices_have_the_colour_of_what_was_done_to_them_and_the_later_kind_lies_above():
    kinds = [(LIGHT, {1, 2, 3}), (BLUE, {2}), (GREEN, {3})]

    _, below = strip_colours(np.zeros(5), kinds).tolist()

    assert below == [list(c) for c in (NOTHING, LIGHT, BLUE, GREEN, NOTHING)]


def test_a_volume_without_doubt_and_slices_that_it_has_not_do_no_harm():
    colours = strip_colours(np.zeros(2), [(BLUE, {-1, 2, 7})])

    assert colours.shape == (2, 2, 3)
    assert colours.dtype == np.uint8
    assert colours.tolist() == [[DARKEST] * 2, [list(NOTHING)] * 2]


def test_all_colours_differ_in_brightness_by_which_they_are_told_apart_without_red_and_green():
    def brightness(colour):
        return np.dot(colour, (0.2126, 0.7152, 0.0722))

    found = sorted(brightness(c) for c in (NOTHING, LIGHT, BLUE))
    assert min(np.diff(found)) > 40
    doubt = [brightness(c) for c in strip_colours(np.linspace(0, 1, 20), [])[0]]
    assert (np.diff(doubt) > 0).all()
