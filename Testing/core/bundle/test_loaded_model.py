"""A loaded model makes sessions with the bundle's own level, neighbours and fusion networks."""

import pytest

from bundles import write_bundle
from context_propagation import SessionSettings, UpdateSettings
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.model.model_listing import describe_model
from nnunet_folders import write_nnunet_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def loaded(base, tmp_path_factory) -> LoadedModel:
    path = write_bundle(tmp_path_factory.mktemp("made") / "bundle", base, neighbours=3, level=1)
    return load_model(path, device="cpu")


def test_a_session_of_a_bundle_has_the_level_the_neighbours_and_the_networks_that_it_was_made_with(loaded):
    session = loaded.session()

    assert (session.settings.level, session.settings.neighbours) == (1, 3)
    assert session.model is loaded.model
    assert session.fusion is loaded.fusion
    assert loaded.fusion_sha256 == loaded.fusion.content_hash


def test_all_other_settings_are_the_caller_s(loaded):
    wanted = SessionSettings(level=2, neighbours=1, update=UpdateSettings(optimizer="adam"), far_rule="latest")

    settings = loaded.session(wanted).settings

    assert (settings.level, settings.neighbours) == (1, 3)
    assert (settings.update.optimizer, settings.far_rule) == ("adam", "latest")


def test_without_fusion_networks_the_caller_s_level_and_neighbours_hold(base):
    loaded = load_model(base, device="cpu")

    assert loaded.session().settings == SessionSettings()
    assert loaded.session(SessionSettings(level=1, neighbours=4)).settings.neighbours == 4
    assert loaded.session().fusion is None
    assert loaded.fusion_sha256 is None


def test_it_says_what_its_folder_says():
    assert load_model(shipped_bundle(), device="cpu").description == describe_model(shipped_bundle())
