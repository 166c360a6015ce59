"""A CT with two slice distances in the module's panel: told, copied with even slices, propagated, and brought back."""

import sys
from pathlib import Path

import numpy as np
import pytest

from as_a_user import click, process_events, settle

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
DISTANCES = (2.5,) * 9 + (4.0,) * 5
"""Slices at 0, 2.5, ..., 22.5, 26.5, ..., 42.5 mm: evenly, 18 of 2.5 mm."""


class User:
    """What a user sees and does in the panel."""

    def __init__(self, application, model):
        from context_propagation.gui.model_list import ModelList
        from context_propagation.gui.work.shared import shared

        ModelList().add(model)
        self.application = application
        self.panel = application.open_module("ContextPropagation").panel
        self.shared, self.ui = shared(), self.panel.inputs._ui
        paths = [listed.path for listed in self.panel.inputs.models.listed]
        self.ui.modelSelector.setCurrentIndex(paths.index(model))

    def click(self, name):
        click(getattr(self.ui, name))
        process_events(until=lambda: not self.shared.runner.busy, at_most=60)
        settle()

    def shown(self):
        """Which of the offer's widgets are there."""
        widgets = ("distancesLabel", "evenSlicesButton", "acquiredSlicesButton")
        return [name for name in widgets if getattr(self.ui, name).isVisible()]


@pytest.fixture
def user(application, models_loaded_once, effect_bundle):
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield User(application, effect_bundle)
    from context_propagation.gui.work.shared import release

    sys.modules["slicer"].modules.contextpropagation.widgetRepresentation().self().cleanup()
    release()


def add_uneven(user, name="CT"):
    from acquired_volumes import add_acquired

    voxels = np.random.default_rng(3).normal(size=(15, 16, 16))
    return add_acquired(user.application.scene, voxels, DISTANCES, spacing_ij=(0.8, 1.1), name=name)


def test_the_panel_says_what_a_copy_changes_makes_it_and_shows_it(user):
    ct = add_uneven(user)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    change = "18 slices 2.5 mm apart in place of 15: 11 as they were acquired, 7 computed from the two beside them"

    assert user.shown() == ["distancesLabel", "evenSlicesButton"]
    assert user.ui.distancesLabel.text == (
        "'CT' has slices 2.5 mm apart (slices 0 to 9) and 4 mm apart (slices 9 to 14). "
        f"A copy is made with {change}. 'CT' stays as it is."
    )
    user.click("evenSlicesButton")

    copy = user.ui.firstVolumeSelector.currentNode()
    assert copy.GetName() == "CT, even slices"
    assert user.application.texts("information") == [f"'CT, even slices' was made with {change}."]
    assert user.shown() == []
    assert (
        sys.modules["slicer"]
        .app.layoutManager()
        .sliceWidget("Red")
        .sliceLogic()
        .GetSliceCompositeNode()
        .GetBackgroundVolumeID()
        == copy.GetID()
    )


def test_predict_names_the_button_and_adds_nothing(user):
    user.ui.firstVolumeSelector.setCurrentNode(add_uneven(user))
    before = user.application.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")

    user.click("predictButton")

    assert "press Make even slices in the module Context Propagation" in user.application.texts("error")[0]
    assert user.application.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before


def test_an_edit_on_the_copy_is_propagated_and_brought_back_on_the_acquired_slices(user):
    from context_propagation.mrml.nodes.segments import segment_mask

    ct = add_uneven(user)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.click("evenSlicesButton")
    user.click("predictButton")
    logic = user.shared.logic
    drawn = np.zeros((16, 16), bool)
    drawn[4:11, 5:12] = True
    logic.edit_slice(13, drawn)  # at 32.5 mm; acquired at 30.5 and 34.5, the latter's own even slice is at 35
    logic.propagate()
    settle()
    result = logic.segment_mask()
    assert (result[13] == drawn).all()
    assert user.shown() == ["distancesLabel", "acquiredSlicesButton"]

    user.click("acquiredSlicesButton")

    back = user.application.scene.GetFirstNodeByName("CT segmentation, acquired slices")
    on_ct = segment_mask(back, back.GetSegmentation().GetNthSegmentID(0), ct)
    # acquired at 26.5, 30.5, 34.5, 38.5, 42.5 mm: of the even slices at 27.5, 30, 35, 37.5 and 42.5
    assert (on_ct == result[[*range(10), 11, 12, 14, 15, 17]]).all()
    assert back.GetParentTransformNode() is ct.GetParentTransformNode()
    assert "was made on the slices of 'CT'" in user.application.texts("information")[-1]


def test_the_copied_segment_is_chosen(user):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    ct = add_uneven(user)
    node = add_segmentation(user.application.scene, ct, "Contours")
    masks = np.zeros((2, 15, 16, 16), bool)
    masks[0, 3:12, 4:9, 4:9] = masks[1, 3:12, 10:14, 4:9] = True
    segment_ids = [add_segment_from_mask(node, mask, ct, name) for mask, name in zip(masks, "AB", strict=True)]
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.segmentSelector.setCurrentNode(node)
    user.ui.segmentSelector.setCurrentSegmentID(segment_ids[1])
    assert "'Contours' is copied too" in user.ui.distancesLabel.text

    user.click("evenSlicesButton")

    chosen = user.ui.segmentSelector.currentNode()
    assert chosen.GetName() == "Contours, even slices"
    assert chosen.GetSegmentation().GetSegment(user.ui.segmentSelector.currentSegmentID()).GetName() == "B"


def test_a_segmentation_drawn_in_slicer_on_its_own_slices_stays_exact_there(user):
    """The Segment Editor puts it on slices of the mean distance, under no transform: between all others."""
    import slicer

    from context_propagation.mrml.nodes.labelmap_images import image_from_mask
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation, segment_labelmap

    ct = add_uneven(user)
    transform_id = ct.GetTransformNodeID()
    ct.SetAndObserveTransformNodeID(None)
    node = add_segmentation(user.application.scene, ct, "Drawn in Slicer")
    mask = np.zeros((15, 16, 16), bool)
    mask[3:12, 4:9, 4:9] = True
    segment_id = add_segment_from_mask(node, mask, ct, "GTV")
    ct.SetAndObserveTransformNodeID(transform_id)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.segmentSelector.setCurrentNode(node)
    user.ui.segmentSelector.setCurrentSegmentID(segment_id)

    user.click("evenSlicesButton")
    assert user.ui.segmentSelector.currentNode() is node
    user.click("predictButton")
    whole = ((0, 15), (0, 16), (0, 16))
    assert (segment_labelmap(node, segment_id).over(whole) == mask).all()
    mask[7, 2:13, 3:12] = True
    grid = segment_labelmap(node, segment_id).ijk_to_ras
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(image_from_mask(mask, whole, grid), node, segment_id, logic.MODE_REPLACE)
    settle()
    user.click("propagateButton")

    after = segment_labelmap(node, segment_id).over(whole)
    assert (after[7] == mask[7]).all()
    assert (after != mask).any()


def test_a_tilted_gantry_is_told_without_a_button(user):
    from acquired_volumes import add_acquired

    ct = add_acquired(user.application.scene, np.zeros((15, 16, 16)), DISTANCES, tilt=0.1)
    user.ui.firstVolumeSelector.setCurrentNode(ct)

    assert user.shown() == ["distancesLabel"]
    assert "shifted sideways, by up to 4.25 mm (gantry tilt?)" in user.ui.distancesLabel.text


def test_other_volumes_are_offered_nothing(user):
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    ct = add_volume(user.application.scene, SourceVolume(np.zeros((1, 4, 5, 6), np.float32), np.eye(4)), "CT")
    user.ui.firstVolumeSelector.setCurrentNode(ct)

    assert user.shown() == []
