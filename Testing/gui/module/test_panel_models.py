"""The list of models in the panel: adding, channels, labels, orientation, far slices."""

import numpy as np

from panel_user import PanelUser, a_slice


def test_a_base_model_whose_far_slices_are_switched_off_says_near_slices_only(user, base, ct):
    user.choose_model(base)
    user.ui.generalFarBox.checked = False

    assert "Near slices only" in user.ui.reachLabel.text
    assert "edits reach: near slices only" in user.ui.modelDescription.text


def test_models_are_added_and_removed_and_what_is_no_model_is_refused(user, pet_model, tmp_path, monkeypatch):
    import qt

    chosen = iter([str(pet_model), str(tmp_path), ""])
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: next(chosen))
    before = user.ui.modelSelector.count

    user.click("addModelButton")
    assert user.panel.inputs.model.path == pet_model
    assert user.ui.secondVolumeSelector.visible
    user.click("addModelButton")
    assert "is not a model's folder" in user.application.texts("error")[0]
    user.click("addModelButton")
    assert user.ui.modelSelector.count == before + 1
    user.click("removeModelButton")
    assert user.ui.modelSelector.count == before
    assert pet_model.is_dir()


def test_the_shipped_model_cannot_be_removed(user):
    user.ui.modelSelector.setCurrentIndex(0)

    user.click("removeModelButton")

    assert "part of the extension" in user.application.texts("error")[0]


def test_a_second_volume_on_another_grid_is_aligned_on_request_and_both_channels_are_used(module, pet_model, add_ct):
    user = PanelUser(module, [pet_model])
    user.choose_model(pet_model)
    ct, pet = add_ct(), add_ct("PET", (10, 12, 12), (1.2, 1.6, 4.0))
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    assert not user.ui.predictButton.enabled
    user.ui.secondVolumeSelector.setCurrentNode(pet)
    user.click("predictButton")
    user.wait()
    assert "is not on the grid of 'CT'" in module.texts("error")[0]

    import qt

    module.answers = [qt.QMessageBox.Cancel]
    user.click("alignButton")
    assert user.ui.secondVolumeSelector.currentNode() is pet
    module.answers = [qt.QMessageBox.No]  # resample only
    user.click("alignButton")
    user.wait()
    aligned = user.ui.secondVolumeSelector.currentNode()
    assert aligned.GetName() == "PET on CT"
    assert aligned.GetImageData().GetDimensions() == ct.GetImageData().GetDimensions()
    assert pet.GetScene() is not None

    user.click("predictButton")
    user.wait()
    assert len(module.texts("error")) == 1
    assert user.shared.logic.selection.volume_nodes == (ct, aligned)


def test_a_model_with_several_labels_is_listed_once_for_each(module, ct, tmp_path_factory):
    from nnunet_folders import write_nnunet_folder

    labels = {"background": 0, "GTV": 1, "node": 2}
    folder = write_nnunet_folder(tmp_path_factory.mktemp("two") / "model", labels=labels, features=(4, 8, 8))
    user = PanelUser(module, [folder])
    names = [user.ui.modelSelector.itemText(n) for n in range(user.ui.modelSelector.count)]
    assert names[-2:] == ["model: GTV", "model: node"]

    user.ui.modelSelector.setCurrentIndex(len(names) - 1)
    user.predict(ct)

    assert module.texts("error") == []
    assert user.shared.logic.loaded.model.target_name == "node"


def test_a_ct_that_is_stored_upside_down_is_segmented_alike_once_the_orientation_is_said(user, base, module, add_ct):
    from context_propagation.core.image.axis_map import axes_towards, turned_volume
    from context_propagation.mrml.nodes.volume_nodes import add_volume, deferred_source_volume

    ct = add_ct()
    volume = deferred_source_volume([ct])()
    flipped = add_volume(module.scene, turned_volume(volume, axes_towards(volume, "LPI")), "upside down")
    user.choose_model(base)
    masks = {}
    for said in ("as stored", "LPS"):
        user.ui.orientationSelector.setCurrentText(said)
        for node, turned in ((ct, slice(None)), (flipped, slice(None, None, -1))):
            user.ui.segmentSelector.setCurrentNode(None)
            user.predict(node)
            masks[said, node] = user.mask()[turned]

    assert np.array_equal(masks["LPS", ct], masks["as stored", ct])  # which lies so
    assert np.array_equal(masks["LPS", flipped], masks["LPS", ct])
    assert masks["as stored", flipped].sum() != masks["as stored", ct].sum()


def test_the_orientation_is_kept_with_the_model_and_used_by_the_effect_too(user, bundle, base):
    from context_propagation.gui.model_list import ModelList

    user.choose_model(base)
    user.ui.orientationSelector.setCurrentText("RAS")
    user.choose_model(bundle)
    assert user.ui.orientationSelector.currentText == "as stored"
    user.choose_model(base)
    assert user.ui.orientationSelector.currentText == "RAS"

    said = {model.path: model.orientation for model in ModelList().models()}
    assert (said[base], said[bundle]) == ("RAS", None)
    user.ui.orientationSelector.setCurrentText("as stored")
    assert {model.orientation for model in ModelList().models()} == {None}


def test_far_slices_follow_without_training_unless_the_user_switches_that_off_for_a_model(user, bundle, base, ct):
    from context_propagation.gui.model_list import ModelList

    user.choose_model(bundle)
    assert not user.ui.generalFarBox.enabled, "it has a fusion network of its own"
    user.choose_model(base)
    assert (user.ui.generalFarBox.enabled, user.ui.generalFarBox.checked) == (True, True)
    assert "edits reach: whole volume (general)" in user.ui.modelDescription.text
    assert user.ui.reachLabel.text == ""
    user.ui.generalFarBox.checked = False
    assert "edits reach: near slices only" in user.ui.modelDescription.text
    assert user.ui.reachLabel.text.startswith("Near slices only")
    user.predict(ct)
    user.ui.generalFarBox.checked = True
    assert "Press Predict to work on what is chosen above." in user.sentence()

    user.ui.segmentSelector.setCurrentNode(None)
    user.predict(ct)
    user.redraw(7, a_slice())
    user.click("propagateButton")
    user.wait()

    assert "whole volume (general)" in user.ui.stateLabel.text
    said = {model.path: model.general_far for model in ModelList().models()}
    assert said[base]
    user.ui.generalFarBox.checked = False
    said = {model.path: model.general_far for model in ModelList().models()}
    assert (said[base], said[bundle]) == (False, True), "which the effect's list shows too"


def test_another_orientation_than_the_models_own_is_refused_in_words(user, bundle, ct):
    user.ui.orientationSelector.setCurrentText("LPS")
    user.predict(ct)
    assert "leave the orientation out (in Slicer: as stored)" in user.application.messages[-1].text
