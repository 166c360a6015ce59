"""Contours that begin where the last case was drawn, from the panel."""

import numpy as np
import pytest

from as_a_user import settle
from panel_user import a_slice


def drawn_wide(user, volume):
    """Predict an empty segment, draw its largest slice a voxel wider, propagate; the first contours."""
    from scipy.ndimage import binary_dilation

    user.predict(volume)
    first = user.mask()
    index = int(first.sum((1, 2)).argmax())
    user.redraw(index, binary_dilation(first[index]))
    user.click("propagateButton")
    user.wait()
    return first


def test_earlier_cases_count_only_where_the_box_is_ticked(ready):
    from context_propagation.gui.work.profile_choice import profile_file

    assert not ready.ui.profileBox.checked
    ready.redraw(3, a_slice())
    ready.click("propagateButton")
    ready.wait()
    assert not profile_file().exists()
    assert not ready.ui.forgetProfileButton.visible


def test_the_next_case_begins_where_the_last_one_was_drawn_and_one_click_takes_it_back(user, ct, add_ct, module):
    from context_propagation.gui.work.profile_choice import profile_file

    user.ui.profileBox.setChecked(True)
    own = drawn_wide(user, ct)
    assert profile_file().exists()
    assert "Cases with this model: 1." in user.ui.profileLabel.text
    assert not user.ui.ownContoursButton.visible

    module.scene.Clear()
    settle()
    user.predict(add_ct())  # the same image: the first contours are moved, and only they
    moved = user.mask()
    assert moved.sum() > own.sum()
    assert "were moved +" in user.ui.stateLabel.text
    assert user.ui.ownContoursButton.visible

    user.click("ownContoursButton")
    assert np.array_equal(user.mask(), own)
    assert not user.ui.ownContoursButton.visible
    assert user.ui.stateLabel.text == "The model's own contours are back."

    user.click("forgetProfileButton")
    assert not profile_file().exists()
    user.ui.profileBox.setChecked(False)
    assert user.ui.profileLabel.text == ""


def test_moved_contours_are_not_taken_back_over_a_drawing(user, ct, add_ct, module):
    from context_propagation.core.errors import UserInputError

    user.ui.profileBox.setChecked(True)
    drawn_wide(user, ct)
    module.scene.Clear()
    settle()
    user.predict(add_ct())
    user.redraw(3, a_slice())
    drawn = user.mask()
    assert not user.ui.ownContoursButton.visible
    with pytest.raises(UserInputError, match="Something was drawn since the prediction"):
        user.shared.logic.use_own_contours()
    assert np.array_equal(user.mask(), drawn)
    user.click("forgetProfileButton")
    user.ui.profileBox.setChecked(False)
