"""The general far network in sessions: what it may change, and what stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from context_propagation.core.bundle import general_file
from context_propagation.core.bundle.general_file import load_general_far
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import box_of, inside_of, slices_of, whole
from context_propagation.core.image.slices import WHOLE_VOLUME_GENERAL, SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation import general_far
from context_propagation.core.propagation.far_evidence import MAPS, NUMBERS
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.general_far import GeneralFar
from context_propagation.core.propagation.general_network import MOST_CORRECTION, REACH, GeneralFarNetwork
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.general.general_controls import BlindGeneralFar
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (22, 20, 18)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8), folds=("0", "1"))
    return NnunetModel.load(folder, device="cpu")


def general(strength=3.0, seed=0, thresholds=0.0):
    """With random weights; a strength of 0 leaves the last layer as a training finds it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GeneralFarNetwork(width=4).eval()
        if strength:
            torch.nn.init.normal_(network.correction.weight, std=strength)
            torch.nn.init.normal_(network.scales.weight, std=0.1)
    return GeneralFar(network, FarThresholds(thresholds, thresholds), "0" * 64)


def ball():
    return sum((g - n // 2) ** 2 for g, n in zip(np.indices(SHAPE), SHAPE, strict=True)) <= 36


def started(model, fusion, **settings):
    settings = {"neighbours": 1, **settings}
    session = Session(model, SessionSettings(update=UpdateSettings(iterations=2), **settings), fusion)
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32) + 2 * ball()
    session.set_image(SourceVolume(image[None], np.eye(4)), ball())
    return session


def redrawn(session, index=11, axis=0):
    mask = np.roll(session.window_prediction.take(index, axis), 2, axis=0)
    mask[2:6, 2:6] = ~mask[2:6, 2:6]
    return SliceEdit(axis, index, mask)


@pytest.mark.quick(axis=1)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_before_any_training_far_slices_are_decoded_from_the_updated_features(model, axis):
    session = started(model, general(strength=0), tidy=False)
    all_near = started(model, None, tidy=False, neighbours=max(SHAPE))
    edit = redrawn(session, 9, axis)
    result, expected = (one.propagate([edit]).segmentation for one in (session, all_near))
    beyond = [index for index in range(SHAPE[axis]) if abs(index - 9) > 1]
    assert np.array_equal(result, expected)
    assert (result != session.initial).take(beyond, axis).any()


def test_before_any_training_the_control_s_margins_are_exactly_the_untouched_ones(model):
    trained = general(strength=0)
    session = started(model, BlindGeneralFar(trained.network, trained.far_thresholds, "0" * 64))
    far = session.preview([redrawn(session, 9)]).record.far
    untouched = session.cache.window_margins.undone(session.cache.prepared.axes, session.cache.owner.shape)
    assert untouched.box == whole(SHAPE)  # one window, which begins where the image does
    assert np.array_equal(far.values, untouched.values[slices_of(far.box)], equal_nan=True)


def test_far_slices_change_drawn_ones_are_exact_and_near_ones_are_the_update_s(model):
    session, near_alone = (started(model, one, tidy=False) for one in (general(), None))
    edit = redrawn(session)
    result, expected = (one.propagate([edit]).segmentation for one in (session, near_alone))
    assert np.array_equal(result[11], edit.mask)
    assert np.array_equal(result[10:13], expected[10:13])
    assert not np.array_equal(result[:10], expected[:10])


@pytest.mark.parametrize("mode", ["joint", "one at a time"])
def test_every_slice_drawn_so_far_stays_exactly_as_drawn(model, mode):
    session = started(model, general(), several_edits=mode)
    edits = [redrawn(session, index) for index in (8, 14)] + [redrawn(session, 10)]
    for edit in edits:
        session.propagate([edit])
    for edit in edits:
        assert np.array_equal(session.segmentation[edit.index], edit.mask)


def test_an_edit_that_draws_what_was_predicted_changes_nothing(model):
    session = started(model, general())
    before = session.segmentation
    edit = SliceEdit(0, 11, session.window_prediction[11])
    after = session.propagate([edit]).segmentation
    assert np.array_equal(np.delete(after, 11, 0), np.delete(before, 11, 0))


def test_a_part_of_the_maps_gives_the_same_correction_as_all_of_them():
    network, generator = general().network, torch.Generator().manual_seed(0)
    maps, numbers = torch.randn(1, MAPS, 26, 24, 22, generator=generator), torch.randn(1, NUMBERS, generator=generator)
    outer, box = box_of([(1, 26), (0, 23), (0, 22)]), box_of([(1 + REACH, 18), (REACH, 15), (REACH, 14)])
    expected = network(maps, numbers)[(..., *slices_of(box))]
    part = network(maps[(..., *slices_of(outer))], numbers)[(..., *slices_of(inside_of(box, outer)))]
    assert torch.allclose(part, expected, atol=1e-4)


def test_corrections_are_limited_and_the_network_is_small():
    network = general(strength=1e3).network
    found = network(torch.full((1, MAPS, 4, 4, 4), 2.0), torch.ones(1, NUMBERS))
    assert found.abs().max() <= MOST_CORRECTION
    assert sum(weights.numel() for weights in GeneralFarNetwork().parameters()) < 100_000


def test_sure_enough_is_what_the_thresholds_say(model):
    session = started(model, general(thresholds=1.0))
    near_alone = started(model, None)
    edit = redrawn(session)
    assert np.array_equal(session.propagate([edit]).segmentation, near_alone.propagate([edit]).segmentation)


def test_a_cancelled_edit_changes_nothing(model):
    session = started(model, general())
    stages = []
    with pytest.raises(Cancelled):
        session.propagate(
            [redrawn(session)], progress=lambda stage, _: stages.append(stage), cancelled=lambda: "decode" in stages
        )
    assert np.array_equal(session.segmentation, ball())
    assert session.records == ()


def test_a_result_says_that_its_far_slices_are_the_general_network_s(model):
    session = started(model, general())
    assert session.propagate([redrawn(session)]).scope == WHOLE_VOLUME_GENERAL


def test_what_ships_is_used_where_it_is_switched_on_and_a_bundle_s_own_network_before_it(model):
    description = ModelDescription(Path("m"), "nnU-Net", "", (), (), "", 0, "", "")
    alone = LoadedModel(model, None, description)
    assert (alone.far, alone.fusion_sha256) == (None, None)
    switched_on = alone.with_general_far()
    shipped = load_general_far()
    assert switched_on.far is shipped
    assert switched_on.session().fusion is shipped
    assert switched_on.fusion_sha256 == shipped.content_hash
    own = random_fusion(model)
    assert replace(switched_on, fusion=own).session().fusion is own


def test_a_saved_session_goes_on_with_the_same_far_network_alone(model, tmp_path):
    session = started(model, general())
    session.propagate([redrawn(session)])
    save_session(session, tmp_path / "s.session.json", "model")
    restored = restore_session(tmp_path / "s.session.json", model, session.volume, fusion=general())
    assert np.array_equal(restored.segmentation, session.segmentation)
    with pytest.raises(
        UserInputError,
        match="general far network 0{12} .*; leave the general far network on",
    ):
        restore_session(tmp_path / "s.session.json", model, session.volume)


def test_a_session_of_another_general_network_says_that_another_version_made_it(model, tmp_path):
    session = started(model, general())
    session.propagate([redrawn(session)])
    save_session(session, tmp_path / "s.session.json", "model")
    newer = replace(general(), content_hash="f" * 64)
    with pytest.raises(UserInputError, match="and f{12} decides them now; use the version of this extension"):
        restore_session(tmp_path / "s.session.json", model, session.volume, fusion=newer)


def test_an_erased_slice_says_nothing_of_far_slices(model):
    session, near_alone = (started(model, one) for one in (general(), None))
    erased = SliceEdit(0, 11, np.zeros(SHAPE[1:], bool))
    assert session.preview([erased]).record.far is None
    assert np.array_equal(session.propagate([erased]).segmentation, near_alone.propagate([erased]).segmentation)


def test_margins_that_are_computed_piece_by_piece_are_those_of_all_at_once(model, monkeypatch):
    session = started(model, general())
    at_once = session.preview([redrawn(session)]).record.far
    monkeypatch.setattr(general_far, "PIECE_VOXELS", 3 * SHAPE[1] * SHAPE[2])
    by_piece = session.preview([redrawn(session)]).record.far
    assert by_piece.box == at_once.box
    assert np.allclose(by_piece.values, at_once.values, atol=2e-3, equal_nan=True)


def test_a_bundle_s_own_networks_need_no_general_one(model, monkeypatch):
    monkeypatch.setattr(general_file, "load_general_far", lambda: pytest.fail("it is not needed"))
    description = ModelDescription(Path("m"), "nnU-Net", "", (), (), "", 0, "", "")
    own = random_fusion(model)
    assert LoadedModel(model, own, description).with_general_far().far is own
