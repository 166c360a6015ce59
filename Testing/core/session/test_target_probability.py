"""The target's probability: of a network whose logits are the image, by hand; of edits, against R_n and the doubt."""

import numpy as np
import pytest
import torch

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.network_model import NetworkModel, Output
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.network.callable_split import CallableSplit
from context_propagation.core.propagation.composition import compose
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.session.slice_suggestion import slice_uncertainty_mm2
from context_propagation.core.session.target_probability import TargetProbability, target_probability
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (8, 8, 8)
MATRIX = np.diag([0.5, 2.0, 3.0, 1.0])


def logits_are_the_image(labels=("background", "GTV")):
    """The target's logit is the image, and every other label's is 0."""
    example = torch.zeros(1, 1, *SHAPE)
    split = CallableSplit(
        lambda x: (1.0 * x, ()), lambda f, skips: torch.cat((*[0 * f] * (len(labels) - 1), f), 1), example
    )
    plain = Preprocessing(None, (ChannelNormalisation("MR", "none"),))
    output = Output(labels, "GTV")
    return NetworkModel([split], plain, output, patch_size=SHAPE, content_hash="0" * 64, device=torch.device("cpu"))


def logit(p):
    return np.log(p / (1 - p))


@pytest.fixture
def known():
    """Voxels whose probability is known; all others have one of 1e-9, which is rounded to 0."""
    p = np.full(SHAPE, 1e-9)
    p[2, 3:5, 3:5] = [[0.9, 0.75], [0.5, 0.3]]
    p[5, 4, 2:4] = 0.999, 0.02
    return p


def session_on(image, model=None, initial=None):
    session = Session(model or logits_are_the_image(), SessionSettings(update=UpdateSettings(iterations=2)))
    session.set_image(SourceVolume(image[None].astype(np.float32), MATRIX), initial)
    return session


def test_a_voxel_has_the_networks_own_probability(known):
    found = target_probability(session_on(logit(known)))

    assert found.box == ((2, 6), (3, 5), (2, 5))
    assert found.values.dtype == np.float32
    assert np.abs(found.on_image(SHAPE) - known).max() < 3e-4  # margins are kept in half precision


def test_with_several_labels_it_is_half_of_one_plus_the_lead_over_the_strongest_other(known):
    model = logits_are_the_image(("background", "bone", "GTV"))
    image = np.full(SHAPE, -30.0)
    image[3, 3, 3] = np.log(2.0)  # the target has a half, and each of the other two a quarter

    found = target_probability(session_on(image, model))

    assert found.on_image(SHAPE)[3, 3, 3] == pytest.approx((1 + 0.5 - 0.25) / 2, abs=3e-4)


def test_uncertainty_is_1_at_a_half_and_0_where_the_network_is_sure(known):
    found = target_probability(session_on(logit(known)))

    at = TargetProbability(((0, 1), (0, 1), (0, 4)), np.array([[[0.5, 0.75, 1.0, 0.0]]], np.float32))
    assert at.uncertainty.tolist() == [[[1.0, 0.5, 0.0, 0.0]]]
    assert found.uncertainty[0, :, 1:].ravel().tolist() == pytest.approx([0.2, 0.5, 1.0, 0.6], abs=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_summed_over_slices_it_is_the_doubt_by_which_slices_are_suggested(known, axis):
    session = session_on(logit(known))
    found = target_probability(session)

    uncertainty = TargetProbability(found.box, found.uncertainty).on_image(SHAPE)
    pixel_mm2 = np.prod([mm for a, mm in enumerate((3.0, 2.0, 0.5)) if a != axis])
    per_slice = uncertainty.sum(tuple(a for a in range(3) if a != axis)) * pixel_mm2
    assert per_slice.sum() > 0
    assert per_slice == pytest.approx(session.slice_uncertainty_mm2(axis), abs=1e-3)


def test_where_the_network_is_sure_that_there_is_nothing_one_voxel_of_0_is_left():
    found = target_probability(session_on(np.full(SHAPE, -90.0), initial=np.zeros(SHAPE, bool)))

    assert found.values.tolist() == [[[0.0]]]
    assert not found.on_image(SHAPE).any()


def test_slices_that_were_drawn_before_are_as_drawn(known):
    mask = np.zeros((8, 8), bool)
    mask[0, 7] = True

    found = target_probability(session_on(logit(known)), [SliceEdit(0, 2, mask), SliceEdit(0, 7, mask)]).on_image(SHAPE)

    assert np.array_equal(found[[2, 7]], np.stack([mask, mask]).astype(np.float32))
    assert found[5, 4, 2] == pytest.approx(0.999, abs=3e-4)


# ---- after edits


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8)), device="cpu")


@pytest.fixture(scope="module", params=["average", "latest"])
def edited(model, request):
    """A session with two edits in two planes."""
    shape = (20, 16, 18)
    settings = SessionSettings(update=UpdateSettings(iterations=2), far_rule=request.param)
    session = Session(model, settings, random_fusion(model))
    noise = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    ball = sum((g - n // 2) ** 2 for g, n in zip(np.indices(shape), shape, strict=True)) <= 25
    session.set_image(SourceVolume(noise, MATRIX), ball)
    for axis, index in ((0, 10), (2, 5)):
        mask = np.roll(session.window_prediction.take(index, axis), 2, axis=0)
        mask[2:6, 2:6] = ~mask[2:6, 2:6]
        session.propagate([SliceEdit(axis, index, mask)])
    return session


def test_it_is_above_a_half_just_where_the_target_is_before_the_thresholds(edited):
    target = compose(edited.window_prediction, edited.records, far_rule=edited.settings.far_rule)
    found = target_probability(edited).on_image(edited.volume.shape_kji)

    undecided = found == 0.5
    assert undecided.sum() < found.size / 1000
    assert np.array_equal(found[~undecided] > 0.5, target[~undecided])
    assert 0 < target.sum() < target.size


def test_drawn_slices_are_as_drawn_and_near_ones_are_decided(edited):
    found = target_probability(edited).on_image(edited.volume.shape_kji)

    last = edited.records[-1].edits[0]
    assert np.array_equal(found[:, :, 5], last.mask.astype(np.float32))
    assert set(np.unique(found[8:13])) == {0.0, 1.0}
    assert len(np.unique(found[:8])) > 100


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_after_edits_too_it_adds_up_to_the_doubt(edited, axis):
    found = target_probability(edited)

    uncertainty = TargetProbability(found.box, found.uncertainty).on_image(edited.volume.shape_kji)
    pixel_mm2 = np.prod([mm for a, mm in enumerate((3.0, 2.0, 0.5)) if a != axis])
    per_slice = uncertainty.sum(tuple(a for a in range(3) if a != axis), dtype=np.float64) * pixel_mm2
    assert per_slice == pytest.approx(edited.slice_uncertainty_mm2(axis), rel=1e-4, abs=1e-3)
    assert per_slice.max() > 0


def test_the_last_edit_alone_speaks_for_far_slices_where_the_session_says_so(edited):
    margins = Margins(((0, 20), (0, 16), (0, 18)), np.zeros((20, 16, 18), np.float16))
    by_rule = [
        slice_uncertainty_mm2(margins, edited.records, 1, (20, 16, 18), (1, 1, 1), rule)
        for rule in ("average", "latest")
    ]

    assert (by_rule[0] != by_rule[1]).any()
