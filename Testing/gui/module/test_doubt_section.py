"""Where the model doubts, in the panel: the overlay, the volumes, the strip with its slider, and the keys."""

import sys
from pathlib import Path

import numpy as np
import pytest

from as_a_user import click, process_events, settle

QtCore, QtTest = pytest.importorskip("PySide6.QtCore"), pytest.importorskip("PySide6.QtTest")
SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHAPE = (16, 16, 16)
SPACING_MM = (0.8, 1.1, 2.5)
NOTHING, PROBABILITY, UNCERTAINTY = range(3)


class Doubtful:
    """The panel with an image that was predicted and is shown in the slice views."""

    def __init__(self, application, bundle):
        from context_propagation.core.image.source_volume import SourceVolume
        from context_propagation.gui.model_list import ModelList
        from context_propagation.gui.work.shared import shared
        from context_propagation.mrml.nodes.volume_nodes import add_volume

        self.application = application
        listed = ModelList().add(bundle)
        self.widget = application.open_module("ContextPropagation")
        self.panel, self.logic, self.runner = self.widget.panel, shared().logic, shared().runner
        self.ui = self.panel.inputs._ui
        self.panel.inputs.models.list_again(listed.path)
        voxels = np.random.default_rng(3).normal(size=(1, *SHAPE)).astype(np.float32)
        self.ct = add_volume(application.scene, SourceVolume(voxels, np.diag([*SPACING_MM, 1.0])), "CT")
        for view in self.views():
            view.SetBackgroundVolumeID(self.ct.GetID())
        self.ui.firstVolumeSelector.setCurrentNode(self.ct)
        self.predict()

    def views(self):
        import slicer

        layout = slicer.app.layoutManager()
        return [layout.sliceWidget(name).mrmlSliceCompositeNode() for name in layout.sliceViewNames()]

    def wait(self):
        """Until nothing runs, and what is shown was brought up to date."""
        settle()
        process_events(until=self.is_settled)
        settle()

    def is_settled(self):
        maps, wanted = self.logic.maps, self.panel.doubt._wanted
        return not self.runner.busy and not wanted and (not maps.shown or maps.are_up_to_date)

    def predict(self):
        click(self.ui.predictButton)
        self.wait()

    def choose(self, index):
        self.ui.overlaySelector.setCurrentIndex(index)
        self.wait()

    def propagate(self, index=7):
        """Redraw a slice and propagate it."""
        grid = np.indices((16, 16))
        mask = sum((g - 8) ** 2 for g in grid) <= 16
        self.logic.edit_slice(index, mask)
        settle()
        click(self.ui.propagateButton)
        self.wait()

    def overlay(self):
        """The volume that lies over all views, or None where none lies over any."""
        found = {view.GetNthLayerVolume(3) if view.GetNumberOfAdditionalLayers() else None for view in self.views()}
        (node,) = found
        return node

    def overlay_values(self):
        from context_propagation.mrml.nodes.volume_nodes import volume_array

        return volume_array(self.overlay()).copy()

    def shown(self, axis=0):
        from context_propagation.gui.slice_views import shown_slice

        return shown_slice(self.ct, axis)

    def strip(self):
        """The strip's pixels as a user sees them: int `[2, slices, 3]`."""
        image = self.ui.stripLabel._qt.pixmap().toImage()
        column = image.width() // SHAPE[0]
        rows = (4, image.height() - 4)
        pixels = [[image.pixelColor(n * column + column // 2, y) for n in range(SHAPE[0])] for y in rows]
        return np.array([[(c.red(), c.green(), c.blue()) for c in row] for row in pixels])


@pytest.fixture
def module(application, models_loaded_once):
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield application
    from context_propagation.gui.work.shared import release

    opened = sys.modules["slicer"].modules.contextpropagation.widgetRepresentation()
    opened.self().cleanup()
    release()


@pytest.fixture
def user(module, effect_bundle):
    return Doubtful(module, effect_bundle)


# ---- the overlay


def test_nothing_can_be_shown_before_an_image_was_predicted(module, effect_bundle):
    widget = module.open_module("ContextPropagation")
    ui = widget.panel.inputs._ui

    assert not ui.overlaySelector.enabled
    assert not ui.addVolumesButton.enabled
    assert ui.stripLabel.isHidden()
    assert ui.stripSlider.isHidden()


def test_probability_and_uncertainty_are_laid_over_all_views_and_taken_away(user):
    from context_propagation.core.session.target_probability import target_probability

    assert user.overlay() is None
    user.choose(PROBABILITY)
    expected = target_probability(user.logic.session)
    assert np.array_equal(user.overlay_values(), expected.values)

    user.choose(UNCERTAINTY)
    assert np.array_equal(user.overlay_values(), expected.uncertainty)
    assert "filled with the prediction" in user.ui.stateLabel.text  # what was said is still true

    user.choose(NOTHING)
    assert user.overlay() is None
    assert user.application.texts("error") == []


def test_a_pet_in_the_foreground_stays_before_during_and_after(user):
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    voxels = np.random.default_rng(4).random((1, *SHAPE)).astype(np.float32)
    pet = add_volume(user.application.scene, SourceVolume(voxels, np.diag([*SPACING_MM, 1.0])), "PET")
    for view in user.views():
        view.SetForegroundVolumeID(pet.GetID())
        view.SetForegroundOpacity(0.4)

    def fused():
        return {(view.GetForegroundVolumeID(), round(view.GetForegroundOpacity(), 3)) for view in user.views()}

    for choice in (UNCERTAINTY, PROBABILITY, NOTHING):
        user.choose(choice)
        assert fused() == {(pet.GetID(), 0.4)}


def test_what_was_done_is_said_also_where_the_overlay_is_made_anew_before(user):
    """As on a busy computer: voxels were changed while something else ran, so that nothing was looked at since."""
    user.choose(PROBABILITY)
    click(user.ui.addVolumesButton)
    assert user.runner.busy
    user.logic.edit_slice(5, np.ones(SHAPE[1:], bool))
    user.panel.edits._say("Done.")
    user.wait()

    assert user.ui.stateLabel.text == "Done."


def test_it_follows_a_propagation_an_undo_and_a_redo_by_itself(user):
    user.choose(PROBABILITY)
    first = user.overlay_values()
    user.propagate()
    after = user.overlay_values()
    assert after.shape != first.shape or (after != first).any()
    assert "voxels changed" in user.ui.stateLabel.text

    click(user.ui.undoButton)
    user.wait()
    assert np.array_equal(user.overlay_values(), first)
    click(user.ui.redoButton)
    user.wait()
    assert np.array_equal(user.overlay_values(), after)


def test_what_a_script_shows_the_panel_names_and_switches_off(user):
    user.logic.maps.show("uncertainty")
    user.panel.update()
    assert user.ui.overlaySelector.currentIndex == UNCERTAINTY

    user.choose(NOTHING)
    assert user.logic.maps.shown == ""


def test_it_ends_with_the_session_and_the_choice_with_it(user):
    user.choose(PROBABILITY)
    user.logic.close_session()
    user.panel.update()

    assert user.overlay() is None
    assert user.ui.overlaySelector.currentIndex == NOTHING
    assert not user.ui.overlaySelector.enabled


def test_the_volume_s_removal_while_it_is_shown_leaves_no_overlay(user):
    user.choose(UNCERTAINTY)
    user.application.scene.RemoveNode(user.ct)
    user.wait()

    assert user.logic.maps.shown == ""
    assert user.application.texts("error") == []


def test_a_slicer_whose_views_have_no_such_layers_is_told_so_once(user, monkeypatch):
    from context_propagation.core.errors import UserInputError
    from context_propagation.mrml.session import doubt_maps

    def too_old(*args):
        raise UserInputError("The slice views of this Slicer can show no further layer; use Slicer 5.10 or later")

    monkeypatch.setattr(doubt_maps, "show_over", too_old)
    user.choose(PROBABILITY)
    user.panel.update()
    user.wait()

    assert len(user.application.texts("error")) == 1
    assert user.ui.overlaySelector.currentIndex == NOTHING


# ---- volumes


def test_both_are_added_as_volumes_and_no_model_takes_one_for_its_image(user):
    click(user.ui.addVolumesButton)
    user.wait()

    scene = user.application.scene
    kind = "vtkMRMLScalarVolumeNode"
    names = [scene.GetNthNodeByClass(n, kind).GetName() for n in range(scene.GetNumberOfNodesByClass(kind))]
    assert names == ["CT", "Probability of GTV", "Uncertainty of GTV"]
    scene.RemoveNode(user.ct)
    user.wait()
    user.ui.firstVolumeSelector.setCurrentNode(None)
    user.panel.inputs.choose_only_volume()
    assert user.ui.firstVolumeSelector.currentNode() is None


# ---- the strip


def test_the_strip_shows_doubt_what_was_changed_and_what_was_drawn(user):
    from context_propagation.gui.module.strip_colours import strip_colours

    user.propagate()

    doubt, (done,) = user.logic.doubt.per_slice_mm2, user.logic.history
    expected = strip_colours(doubt, [((86, 180, 233), set(done.changed_per_slice)), ((0, 114, 178), {7})])
    assert np.array_equal(user.strip(), expected)
    assert user.strip()[1, 7].tolist() == [0, 114, 178]
    assert len(np.unique(user.strip()[0], axis=0)) > 3
    assert "dark blue: drawn" in user.ui.stripLabel.toolTip

    click(user.ui.undoButton)
    user.wait()
    assert len(np.unique(user.strip()[1], axis=0)) == 1


def test_the_slider_below_goes_through_the_slices_and_follows_the_views(user):
    import slicer

    assert (user.ui.stripSlider.minimum, user.ui.stripSlider.maximum) == (0, 15)
    user.ui.stripSlider.setValue(11)
    assert user.shown() == 11

    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetSliceOffset(3 * 2.5)
    settle()
    assert user.ui.stripSlider.value == 3


def press_strip(user, slice_index):
    """Press the mouse in the middle of a slice's column."""
    from PySide6 import QtGui

    label = user.ui.stripLabel._qt
    label.window().resize(500, 900)
    label.window().show()
    settle()
    place = QtCore.QPoint(int((slice_index + 0.5) * label.width() / SHAPE[0]), label.height() // 2)
    QtGui.QCursor.setPos(label.mapToGlobal(place))
    QtTest.QTest.mouseClick(label, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, place)
    settle()


@pytest.mark.parametrize("index", [0, 6, 15])
def test_a_click_on_the_strip_shows_the_slice(user, index):
    press_strip(user, index)

    assert user.shown() == index
    assert user.ui.stripSlider.value == index


def test_a_click_on_the_strip_of_a_closed_panel_does_nothing(user):
    press_strip(user, 3)
    user.panel.close()

    press_strip(user, 9)

    assert user.shown() == 3
    assert user.application.texts("error") == []


def test_the_strip_follows_the_plane_that_was_drawn_in(user):
    mask = user.logic.segment_mask()[:, :, 5].copy()
    mask[5:9, 5:9] = ~mask[5:9, 5:9]
    user.logic.edit_slice(5, mask, "sagittal")
    settle()
    click(user.ui.propagateButton)
    user.wait()

    assert user.logic.doubt.axis == 2
    assert user.strip()[1, 5].tolist() == [0, 114, 178]
    user.ui.stripSlider.setValue(9)
    assert user.shown(2) == 9


def test_views_are_followed_while_the_panel_is_shown_and_no_longer(user):
    strip = user.panel.doubt._strip
    assert len(strip._views) == 3
    user.panel.exit()
    assert strip._views == []
    user.panel.enter()
    assert len(strip._views) == 3


# ---- keys


def press(user, key):
    window = user.ui.editButton._qt.window()
    window.show()
    window.activateWindow()
    settle()
    keys = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    QtTest.QTest.keyClick(window, key, keys)
    settle()


DOWN, UP = QtCore.Qt.Key.Key_Down, QtCore.Qt.Key.Key_Up


def test_the_keys_go_through_the_suggested_slices_in_the_order_of_doubt(user):
    suggested = user.logic.suggested_slices()
    assert len(suggested) > 2
    assert user.shown() == suggested[0]  # after a prediction

    press(user, DOWN)
    assert user.shown() == suggested[1]
    press(user, DOWN)
    assert user.shown() == suggested[2]
    assert f"Suggested slice 3 of {len(suggested)}, in the order of doubt: axial {suggested[2]}" in (
        user.application.status
    )
    press(user, UP)
    assert user.shown() == suggested[1]


def test_at_both_ends_they_stay_and_from_any_other_slice_they_go_to_the_first(user):
    from context_propagation.gui.slice_views import jump_to_slice

    suggested = user.logic.suggested_slices()
    press(user, UP)
    assert user.shown() == suggested[0]
    jump_to_slice(user.ct, 0, suggested[-1])
    press(user, DOWN)
    assert user.shown() == suggested[-1]
    other = next(index for index in range(16) if index not in suggested)
    for key in (DOWN, UP):
        jump_to_slice(user.ct, 0, other)
        press(user, key)
        assert user.shown() == suggested[0]


def test_without_a_session_the_keys_say_so_and_do_nothing_else(user):
    user.logic.close_session()
    before = user.shown()

    press(user, DOWN)

    assert user.shown() == before
    assert "No slice is suggested" in user.application.status
    assert user.application.texts("error") == []


def test_the_keys_are_gone_with_the_panel(user):
    from PySide6 import QtGui

    assert len(user.ui.editButton._qt.findChildren(QtGui.QShortcut)) == 3
    user.panel.close()
    settle()
    assert user.ui.editButton._qt.findChildren(QtGui.QShortcut) == []
