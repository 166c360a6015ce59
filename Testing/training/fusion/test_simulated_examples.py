"""Training examples from a real session: what they hold, against the session's own cache and computations by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.fusion_inputs import describe_edit, edit_map
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.fusion.fusion_example import load_example, save_example
from context_propagation.training.fusion.simulated_examples import simulated_examples
from nnunet_folders import write_nnunet_folder
from small_sessions import stored_with_other_axes

SHAPE = (24, 22, 20)
QUICK = UpdateSettings(iterations=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture(scope="module")
def model(folder):
    return NnunetModel.load(folder, device="cpu")


def volume(shape=SHAPE, spacing_k_mm=1.0):
    spectrum = np.fft.rfftn(np.random.default_rng(0).normal(size=shape))
    spectrum[4:-3] = 0
    smooth = np.fft.irfftn(spectrum, s=shape, axes=(0, 1, 2)).astype(np.float32)
    return SourceVolume(smooth[None], np.diag([1.0, 1.0, spacing_k_mm, 1.0]))


def ball(shape=SHAPE, radius=5):
    return sum((g - n // 2) ** 2 for g, n in zip(np.indices(shape), shape, strict=True)) <= radius**2


def started(model, image=None, truth=None, **settings):
    session = Session(model, SessionSettings(update=QUICK, **settings))
    image = image or volume()
    session.set_image(image, ball(image.shape_kji) if truth is None else truth)
    return session


@pytest.fixture(scope="module")
def session(model):
    """One window larger than the image."""
    return started(model, window_border=30)


def edit_of(truth, index, axis=0):
    return SliceEdit(axis, index, truth.take(index, axis))


def examples(session, edits, truth=None, hidden_truth=()):
    truth = ball(session.volume.shape_kji) if truth is None else truth
    return list(simulated_examples(session.propagation, edits, truth, hidden_truth))


def only_example(session, edits, truth=None, hidden_truth=()):
    ((window, fold, example),) = examples(session, edits, truth, hidden_truth)
    assert (window, fold) == (0, 0)
    return example


def untouched_logits(session, window, fold=0):
    """A window's untouched logits, the part on the network's grid stretched to the image, [1, C, *image crop]."""
    placed, grid = session.cache.windows[window], session.cache.prepared.grid
    inside = tuple(
        slice(max(0, -a), min(b, n) - a) for (a, b), n in zip(placed.network_box, grid.network_shape, strict=True)
    )
    logits = placed.features[fold].logits[(slice(None), slice(None), *inside)]
    crop = tuple(stop - start for start, stop in grid.crop)
    return F.interpolate(logits, crop, mode="trilinear", align_corners=False)


# ---- what is decoded


@pytest.mark.parametrize("spacing_k_mm", [1.0, 0.6, 3.0])
def test_f_decodes_to_the_session_s_untouched_logits_on_image_voxels(model, spacing_k_mm):
    session = started(model, volume(spacing_k_mm=spacing_k_mm), window_border=60)
    example = only_example(session, [edit_of(ball(), 11)])
    expected = untouched_logits(session, 0)[(slice(None), slice(None), *slices_of(example.image_box))]
    assert torch.allclose(example.decode(model.splits[0], example.inputs.f), expected, atol=1e-4)
    assert (session.cache.prepared.grid.network_shape == SHAPE) == (spacing_k_mm == 1.0)
    assert expected.std() > 0.1


def test_a_cut_decoder_decodes_what_the_whole_one_does(model):
    """The truth is one voxel near the last corner, so that a part of the window suffices."""
    shape = (40, 40, 40)
    truth = np.zeros(shape, bool)
    truth[38, 37, 38] = True
    session = started(model, volume(shape), ball(shape, 19), window_border=60)
    session.cache.window_prediction[:] = False
    example = only_example(session, [SliceEdit(0, 38, truth[38])], truth)
    features, start = session.cache.windows[0].features[0], session.cache.windows[0].network_box[0][0]
    assert example.decoder.f.numel() < features.f.numel()
    assert example.image_box == ((26, 40), (25, 40), (26, 40))
    fused = features.f + 0.3 * torch.randn(features.f.shape, generator=torch.Generator().manual_seed(0))
    whole = model.splits[0].decode(features, fused, True)
    expected = whole[:, :, 26 - start : 40 - start, 25 - start : 40 - start, 26 - start : 40 - start]
    assert torch.allclose(example.decode(model.splits[0], fused), expected, atol=1e-4)


def test_edits_decode_together_as_they_decode_alone(model, session):
    example = only_example(session, [edit_of(ball(), 9), edit_of(ball(), 14)])
    together = example.decode(model.splits[0], example.inputs.f_updated)
    for edit in range(2):
        alone = example.decode(model.splits[0], example.inputs.f_updated[edit : edit + 1])
        assert torch.allclose(together[edit : edit + 1], alone, atol=1e-4)
    assert not torch.allclose(together[:1], together[1:], atol=1e-2)


def test_a_saved_example_decodes_the_same(model, session, tmp_path):
    example = only_example(session, [edit_of(ball(), 11)])
    save_example(example, tmp_path / "case.safetensors")
    read = load_example(tmp_path / "case.safetensors")
    assert torch.equal(
        read.decode(model.splits[0], read.inputs.f_updated), example.decode(model.splits[0], example.inputs.f_updated)
    )


# ---- what is shown of an edit


def test_f_updated_is_what_the_engine_updates(session):
    edit = edit_of(ball(), 11)
    example = only_example(session, [edit])
    (piece,), _ = session.propagation.updated_features(session.propagation.network_edit([edit]))
    expected = session.cache.windows[0].features[0].f.clone()
    expected[(0, slice(None), *slices_of(piece.box))] = piece.values
    assert torch.equal(example.inputs.f, session.cache.windows[0].features[0].f)
    assert torch.equal(example.inputs.f_updated, expected)
    assert not torch.equal(example.inputs.f_updated, example.inputs.f)


def test_map_and_description_are_those_of_the_edit(session):
    edit = edit_of(ball(), 11)
    example = only_example(session, [edit])
    drawn = np.zeros(SHAPE, bool)
    drawn[11] = edit.mask
    grid, window = session.cache.prepared.grid, session.cache.windows[0]
    assert torch.equal(
        example.inputs.edit_maps, edit_map(grid, window.network_box, example.inputs.f.shape[2:], drawn, 0, [11])
    )
    described = describe_edit(session.cache, session.propagation.network_edit([edit]), (1.0, 1.0, 1.0))
    assert np.array_equal(example.inputs.descriptions[0].numpy(), described)
    assert described.any()


def test_each_edit_is_run_alone_as_if_there_were_no_other(session):
    edits = [edit_of(ball(), 9), edit_of(ball(), 14)]
    both, alone = only_example(session, edits), [only_example(session, [edit]) for edit in edits]
    for name in ("f_updated", "edit_maps", "descriptions"):
        expected = torch.cat([getattr(one.inputs, name) for one in alone])
        assert torch.equal(getattr(both.inputs, name), expected), name
    assert torch.equal(both.far, torch.cat([one.far for one in alone]))
    assert both.axes == tuple(axis for one in alone for axis in one.axes)


def test_simulated_edits_leave_the_session_as_it_was(model):
    session = started(model)
    before, features = session.segmentation.copy(), session.cache.windows[0].features[0].f.clone()
    examples(session, [edit_of(ball(), 11)])
    assert np.array_equal(session.segmentation, before)
    assert torch.equal(session.cache.windows[0].features[0].f, features)
    assert session.records == ()


@pytest.mark.parametrize("hidden_truth", [(), (0.0, 1.0, 0.5)])
def test_an_example_holds_what_its_oracle_is_told(session, hidden_truth):
    example = only_example(session, [edit_of(ball(), 11)], hidden_truth=hidden_truth)
    assert example.hidden_truth.dtype == torch.float32
    assert example.hidden_truth.tolist() == list(hidden_truth)


# ---- where the loss counts


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_far_is_all_outside_the_near_slices(model, axis, neighbours):
    session = started(model, window_border=30, neighbours=neighbours)
    example = only_example(session, [edit_of(ball(), 9, axis)])
    far = np.ones(SHAPE, bool)
    np.moveaxis(far, axis, 0)[9 - neighbours : 9 + neighbours + 1] = False
    assert np.array_equal(example.far[0].numpy(), far[slices_of(example.image_box)])
    assert example.axes == (axis,)


def test_near_slices_end_with_the_image(model, session):
    truth = np.roll(ball(), -8, axis=0)
    far = only_example(session, [edit_of(truth, 1)], truth).far[0]
    assert far.any(dim=(1, 2)).tolist() == [False] * 4 + [True] * (far.shape[0] - 4)


def test_the_loss_box_is_twelve_voxels_around_truth_and_prediction(model):
    shape = (40, 44, 36)
    session = started(model, volume(shape), ball(shape), window_border=60)
    session.cache.window_prediction[:] = False
    session.cache.window_prediction[20, 18:27, 5] = True
    truth = np.zeros(shape, bool)
    truth[18:22, 22, 18] = True
    example = only_example(session, [SliceEdit(0, 20, truth[20])], truth)
    assert example.image_box == ((18 - 12, 22 + 12), (18 - 12, 27 + 12), (0, 19 + 12))
    assert np.array_equal(example.truth.numpy(), truth[slices_of(example.image_box)])


def test_an_edit_that_the_model_already_agrees_with_teaches_nothing(session):
    agreed = SliceEdit(0, 15, session.window_prediction[15])
    assert examples(session, [agreed]) == []
    both = only_example(session, [agreed, edit_of(ball(), 11)])
    assert torch.equal(both.inputs.f_updated, only_example(session, [edit_of(ball(), 11)]).inputs.f_updated)


def test_an_image_whose_slices_are_all_near_teaches_nothing(model):
    shape = (4, 22, 20)
    session = started(model, volume(shape), ball(shape))
    assert examples(session, [edit_of(ball(shape), 2)]) == []
    assert len(only_example(session, [edit_of(ball(shape), 2), edit_of(ball(shape), 0)])) == 1


def test_where_the_model_predicts_nothing_there_is_no_example(model):
    session = started(model, truth=np.zeros(SHAPE, bool))
    assert not session.propagation.cache.windows
    assert not list(simulated_examples(session.propagation, [edit_of(ball(), 12)], ball()))


def test_without_truth_and_prediction_there_is_no_example(model):
    session = started(model)
    session.cache.window_prediction[:] = False
    assert examples(session, [SliceEdit(0, 11, ball()[11])], np.zeros(SHAPE, bool)) == []


# ---- geometry


@pytest.mark.quick(order=((2, 0, 1),))
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True)])
def test_a_flipped_or_permuted_image_of_known_orientation_gives_the_same_example(folder, order, flips):
    known = NnunetModel.load(folder, device="cpu", orientation="LPS")
    truth = np.roll(ball(), (2, 1, -1), axis=(0, 1, 2))
    straight = only_example(started(known, truth=truth, window_border=30), [edit_of(truth, 11)], truth)
    matrix, store = stored_with_other_axes(order, flips)
    session = Session(known, SessionSettings(update=QUICK, window_border=30))
    session.set_image(SourceVolume(store(volume().channels[0])[None], matrix), store(truth))
    axis = order.index(0)
    index = SHAPE[0] - 1 - 11 if flips[axis] else 11
    stored = only_example(session, [edit_of(store(truth), index, axis)], store(truth))
    assert stored.image_box == straight.image_box
    assert torch.equal(stored.truth, straight.truth)
    assert torch.equal(stored.far, straight.far)
    assert torch.equal(stored.inputs.edit_maps, straight.inputs.edit_maps)
    for name in ("f", "f_updated", "descriptions"):
        assert torch.allclose(getattr(stored.inputs, name), getattr(straight.inputs, name), atol=1e-5), name


@pytest.mark.parametrize("transpose", [(2, 0, 1), (1, 2, 0)])
def test_a_network_that_sees_other_axes_has_its_examples_in_them(tmp_path, transpose):
    folder = write_nnunet_folder(tmp_path, transpose_forward=transpose, features=(4, 8, 8))
    model = NnunetModel.load(folder, device="cpu")
    truth = np.roll(ball(), (2, 1, -1), axis=(0, 1, 2))
    session = started(model, truth=truth, window_border=30)
    example = only_example(session, [edit_of(truth, 11)], truth)
    box = slices_of(example.image_box)
    far = np.ones(SHAPE, bool)
    far[9:14] = False
    assert np.array_equal(example.truth.numpy(), truth.transpose(transpose)[box])
    assert np.array_equal(example.far[0].numpy(), far.transpose(transpose)[box])
    assert example.axes == (transpose.index(0),)
    labels = example.decode(model.splits[0], example.inputs.f).argmax(1)[0].numpy() == 1
    assert np.array_equal(labels, session.window_prediction.transpose(transpose)[box])


def test_every_window_gives_an_example_of_its_own(model):
    shape = (16, 16, 64)
    truth = ball(shape, 30)
    plan = Session(model).set_image(volume(shape), truth)
    session = started(model, volume(shape), truth, memory_budget_bytes=int(plan.peak_bytes * 0.99))
    edit = SliceEdit(2, 10, ball(shape)[:, :, 32])
    found = examples(session, [edit], truth)
    assert [window for window, _, _ in found] == list(range(len(session.cache.windows)))
    assert len(found) > 1
    updated = {piece.window for piece in session.propagation.updated_features(
        session.propagation.network_edit([edit]))[0]}  # fmt: skip
    assert 0 < len(updated) < len(found)
    for window, _, example in found:
        placed = session.cache.windows[window]
        box = slices_of(example.image_box)
        start = placed.network_box[2][0]
        expected = placed.features[0].logits[..., example.image_box[2][0] - start : example.image_box[2][1] - start]
        assert torch.equal(example.inputs.f, placed.features[0].f)
        assert torch.equal(example.inputs.f, example.inputs.f_updated) == (window not in updated)
        assert torch.allclose(example.decode(model.splits[0], example.inputs.f), expected, atol=1e-4)
        assert np.array_equal(example.truth.numpy(), truth[box])


def test_every_fold_gives_an_example_of_its_own(tmp_path):
    model = NnunetModel.load(write_nnunet_folder(tmp_path, folds=(0, 1), features=(4, 8, 8)), device="cpu")
    session = started(model, window_border=30)
    found = examples(session, [edit_of(ball(), 11)])
    assert [(window, fold) for window, fold, _ in found] == [(0, 0), (0, 1)]
    for _, fold, example in found:
        expected = untouched_logits(session, 0, fold)[(slice(None), slice(None), *slices_of(example.image_box))]
        assert torch.allclose(example.decode(model.splits[fold], example.inputs.f), expected, atol=1e-4)
        assert not torch.equal(example.inputs.f, example.inputs.f_updated)
    assert not torch.equal(found[0][2].inputs.f, found[1][2].inputs.f)
