"""What follows the chosen lesion: the doubt over the slice views, the table's row, and the label of the model."""

import numpy as np
import pytest

from as_a_user import process_events, settle
from lesion_scene import choose, click_row, open_effect, with_two_lesions
from panel_user import PanelUser

PROBABILITY = 1


@pytest.fixture
def both(module, bundle, ct):
    """Two lesions that were started, A in use; the probability is shown over the slice views."""
    user = PanelUser(module, [bundle])
    user.choose_model(bundle)
    with_two_lesions(user, ct)
    for name in ("B", "A"):
        choose(user, name)
        user.click("predictButton")
        user.wait()
    for view in views():
        view.SetBackgroundVolumeID(ct.GetID())
    user.ui.overlaySelector.setCurrentIndex(PROBABILITY)
    wait_for_map(user)
    return user


def views():
    import slicer

    layout = slicer.app.layoutManager()
    return [layout.sliceWidget(name).mrmlSliceCompositeNode() for name in layout.sliceViewNames()]


def overlay():
    """The volume that lies over all views, or None where none lies over any."""
    (node,) = {view.GetNthLayerVolume(3) if view.GetNumberOfAdditionalLayers() else None for view in views()}
    return node


def wait_for_map(user):
    """Until nothing runs, and what is shown was brought up to date."""
    maps, wants = user.shared.logic.maps, user.panel.doubt
    settle()
    process_events(until=lambda: not user.shared.runner.busy and not wants._wanted and maps.are_up_to_date, at_most=60)
    settle()


def assert_shown_of(user, name):
    """The map is that of a lesion's own session, voxel by voxel."""
    from context_propagation.core.session.target_probability import target_probability
    from context_propagation.mrml.nodes.volume_nodes import volume_array

    (live,) = (one for one in user.shared.logic.sessions if one.selection.segment_id == user.ids[name])
    assert np.array_equal(volume_array(overlay()), target_probability(live.session, live.kept).values)


def redraw_and_propagate(user, index):
    user.redraw(index, np.roll(user.mask()[index], 2, axis=1))
    user.click("propagateButton")
    user.wait()


# ---- the doubt


def test_the_doubt_is_that_of_the_lesion_that_was_chosen_last(both):
    redraw_and_propagate(both, 8)
    wait_for_map(both)
    assert_shown_of(both, "A")

    for name in ("B", "A"):
        choose(both, name)
        wait_for_map(both)
        assert both.selection.segment_id == both.ids[name]
        assert_shown_of(both, name)
    assert both.ui.overlaySelector.currentIndex == PROBABILITY
    assert both.application.texts("error") == []


def test_the_doubt_follows_the_lesion_that_is_selected_in_the_segment_editor(both):
    redraw_and_propagate(both, 8)
    editor = open_effect(both)

    for name in ("B", "A"):
        editor.selectSegment(both.ids[name])
        wait_for_map(both)
        assert both.selection.segment_id == both.ids[name]
        assert_shown_of(both, name)


def test_where_a_lesion_is_deleted_the_doubt_of_the_one_that_is_left_is_shown(both):
    both.node.GetSegmentation().RemoveSegment(both.ids["A"])
    wait_for_map(both)

    assert both.selection.segment_id == both.ids["B"]
    assert_shown_of(both, "B")
    both.node.GetSegmentation().RemoveSegment(both.ids["B"])
    settle()
    both.wait()
    assert overlay() is None


def test_the_doubt_goes_with_the_model_that_it_is_of(both, base):
    both.shared.logic.load_model(base, device="cpu")
    both.panel.update()
    settle()

    assert overlay() is None
    assert both.ui.overlaySelector.currentIndex == 0


# ---- the table


def selected_rows(user):
    return sorted({index.row() for index in user.ui.lesionsTable.selectedIndexes()})


def test_the_row_of_the_table_follows_selector_and_segment_editor(both):
    assert selected_rows(both) == [0]
    choose(both, "B")
    assert selected_rows(both) == [1]
    click_row(both, 0)
    assert selected_rows(both) == [0]

    editor = open_effect(both)
    editor.selectSegment(both.ids["B"])
    process_events()
    settle()

    assert both.selection.segment_id == both.ids["B"]
    assert selected_rows(both) == [1]


# ---- the label


@pytest.fixture
def labelled(module, ct, tmp_path):
    """An nnU-Net of two labels: A was started for the first, B for the second."""
    from nnunet_folders import write_nnunet_folder

    labels = {"background": 0, "GTVp": 1, "GTVn": 2}
    folder = write_nnunet_folder(tmp_path / "two", seed=1, spacing=(2.5, 1.1, 0.8), features=(2, 4, 4), labels=labels)
    user = PanelUser(module, [folder])
    with_two_lesions(user, ct)
    for name, label in (("A", "GTVp"), ("B", "GTVn")):
        user.ui.modelSelector.setCurrentIndex(user.ui.modelSelector.findText(f"two: {label}"))
        choose(user, name)
        user.click("predictButton")
        user.wait()
    return user


def test_the_label_follows_the_chosen_lesion(labelled):
    logic, selector = labelled.shared.logic, labelled.ui.modelSelector
    assert (logic.loaded.model.target_name, selector.currentText) == ("GTVn", "two: GTVn")

    choose(labelled, "A")
    assert (logic.loaded.model.target_name, selector.currentText) == ("GTVp", "two: GTVp")
    click_row(labelled, 1)
    assert (logic.loaded.model.target_name, selector.currentText) == ("GTVn", "two: GTVn")
    assert "Ready: redraw a slice" in labelled.ui.stateLabel.text
    assert labelled.application.texts("error") == labelled.application.texts("question") == []


def test_the_label_follows_the_lesion_that_is_selected_in_the_segment_editor(labelled):
    editor = open_effect(labelled)
    widgets = editor.effects["Propagate Edit"].self().panel.widgets

    for name, label in (("A", "GTVp"), ("B", "GTVn")):
        editor.selectSegment(labelled.ids[name])
        process_events()
        settle()
        assert labelled.selection.segment_id == labelled.ids[name]
        assert labelled.shared.logic.loaded.model.target_name == label
        assert widgets.model.currentText == f"two: {label}"
