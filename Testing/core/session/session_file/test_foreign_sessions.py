"""A session is not restored on another model, fusion network or image than it was saved with."""

from dataclasses import replace

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder
from saved_sessions import SETTINGS, a_box, an_image

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_session_made_without_a_fusion_network_is_refused_with_one(file, model):
    fusion = random_fusion(model, level=1)
    with pytest.raises(
        UserInputError,
        match="made without a network for far slices, and 0{12} decides them now; choose the model's own folder",
    ):
        restore_session(file, model, an_image(), fusion=fusion)


def test_a_session_made_with_a_fusion_network_is_refused_without_it_or_with_another(fused, model, tmp_path):
    session, _ = fused
    path = tmp_path / "fused.session.json"
    save_session(session, path)
    with pytest.raises(
        UserInputError,
        match="the fusion networks 0{12} for far slices, and nothing decides them now; load the bundle",
    ):
        restore_session(path, model, an_image())
    other = replace(random_fusion(model, level=1), content_hash="f" * 64)
    with pytest.raises(UserInputError, match="networks 0{12} for far slices, and f{12} decides them now; load"):
        restore_session(path, model, an_image(), fusion=other)


def test_another_model_is_refused(file, tmp_path):
    other = NnunetModel.load(write_nnunet_folder(tmp_path / "other", seed=7), device="cpu")

    with pytest.raises(
        UserInputError, match=rf"made with the model .*this one is {other.content_hash[:12]}; load that model"
    ):
        restore_session(file, other, an_image())


def test_fewer_folds_of_the_same_model_are_refused(file, tmp_path, model):
    folder = write_nnunet_folder(tmp_path / "same", folds=(0, 1), convolutions=2)
    assert NnunetModel.load(folder, device="cpu").content_hash == model.content_hash

    with pytest.raises(UserInputError, match="load that model to go on with them"):
        restore_session(file, NnunetModel.load(folder, device="cpu", folds=[0]), an_image())


def test_a_model_loaded_for_another_label_is_refused(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", labels={"background": 0, "GTV": 1, "node": 2})
    session = Session(NnunetModel.load(folder, label="GTV", device="cpu"), SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.session.json")
    with pytest.raises(UserInputError, match="refine the label 'GTV', and the model is loaded for 'node'"):
        restore_session(tmp_path / "s.session.json", NnunetModel.load(folder, label="node", device="cpu"), an_image())


def test_a_model_loaded_for_another_orientation_is_refused(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m")
    session = Session(NnunetModel.load(folder, device="cpu", orientation="LPS"), SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.session.json")
    with pytest.raises(UserInputError, match="made with images turned to LPS, and the model is loaded for none; load"):
        restore_session(tmp_path / "s.session.json", NnunetModel.load(folder, device="cpu"), an_image())


def test_another_image_is_refused(file, model):
    with pytest.raises(UserInputError, match="another image, spacing or orientation; choose the one"):
        restore_session(file, model, an_image(seed=1))


def test_one_different_voxel_makes_another_image(file, model):
    channels = an_image().channels.copy()
    channels[0, 3, 4, 5] += 0.5

    with pytest.raises(UserInputError, match="another image"):
        restore_session(file, model, SourceVolume(channels, an_image().ijk_to_lps))


def test_an_image_of_another_shape_is_refused(file, model):
    channels = an_image().channels.reshape(1, 24, 20, 40)

    with pytest.raises(UserInputError, match="data differ"):
        restore_session(file, model, SourceVolume(channels, an_image().ijk_to_lps))


def test_the_same_voxels_at_another_spacing_are_another_image(file, model):
    image = an_image()
    stretched = SourceVolume(image.channels, image.ijk_to_lps @ np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(UserInputError, match="another image, spacing or orientation"):
        restore_session(file, model, stretched)
