"""What a fusion network is given of an edit, and that its answer is what far slices become."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.edit_description import DrawnSlice, describe, no_description
from context_propagation.core.propagation.fusion_inputs import (
    EditContext,
    FusionInputs,
    describe_edit,
    edit_map,
    fusion_inputs,
)
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from far_sessions import decoded, network_edit, redrawn, started, whole_margins
from fusion_networks import random_fusion
from small_sessions import SHAPE, ball, volume


def test_the_margins_are_those_of_the_fused_features_decoded_over_the_window(model):
    """One window larger than the image, 1 mm voxels: every step by hand."""
    fusion = random_fusion(model)
    session = started(model, fusion, window_border=30, tidy=False)
    (window,) = session.cache.windows
    features = window.features[0]
    edit = redrawn(session)
    before = session.window_prediction
    session.propagate([edit])
    (record,) = session.records

    (piece,) = record.features
    f_updated = features.f.clone()
    f_updated[(0, slice(None), *slices_of(piece.box))] = piece.values
    assert not torch.equal(f_updated, features.f)
    drawn = np.zeros(SHAPE, bool)
    drawn[10] = edit.mask
    grid = session.cache.prepared.grid
    occupied = edit_map(grid, window.network_box, features.f.shape[2:], drawn, 0, [10])
    description = describe_edit(session.cache, network_edit(session, [edit]), (1.0, 1.0, 1.0))
    parts = (occupied[0, 0], occupied[0, 1] - occupied[0, 0])
    looks = torch.stack([(features.f[0] * part).sum((1, 2, 3)) / (part.sum() + 1e-3) for part in parts])[None]
    with torch.no_grad():
        fused = fusion.networks[0](
            FusionInputs(features.f, f_updated, occupied, torch.from_numpy(description)[None], looks)
        )
        logits = model.splits[0].decode(features, fused, True)
    probability = torch.softmax(logits, 1)[0].numpy()
    inside = tuple(slice(-start, -start + n) for (start, _), n in zip(window.network_box, SHAPE, strict=True))
    margin = (probability[1] - probability[0])[inside]

    assert np.allclose(whole_margins(session, record), margin, atol=1e-3)  # stored as float16
    far = np.ones(SHAPE, bool)
    far[8:13] = False
    clear = far & (np.abs(margin) > 1e-3)
    assert np.array_equal(session.records[0].far.values.dtype, np.float16)
    flipped = (margin > 0) != before
    assert (flipped & clear).any()
    assert np.array_equal((session.segmentation != session.initial)[clear & flipped],
                          (margin > 0)[clear & flipped] != session.initial[clear & flipped])  # fmt: skip
    assert np.array_equal(session.segmentation[clear & ~flipped], session.initial[clear & ~flipped])


def test_training_and_use_share_inputs_and_decode_and_the_decode_has_a_gradient(model):
    fusion = random_fusion(model)
    session = started(model, fusion, window_border=30)
    edit = redrawn(session)
    session.propagate([edit])
    (record,) = session.records
    cache, drawn = session.cache, network_edit(session, [edit])
    context = EditContext.of(cache, drawn, (1.0, 1.0, 1.0))

    inputs = fusion_inputs(cache, 0, 0, record.features, context)
    logits = decoded(cache, 0, 0, fusion.networks[0], inputs)
    margin = model.target_margin([logits])[0].detach().numpy()
    model.target_logit(logits).sum().backward()

    assert np.allclose(whole_margins(session, record), margin, atol=1e-3)
    assert fusion.networks[0].output.weight.grad.abs().sum() > 0


def test_the_description_is_that_of_the_drawn_slice_against_the_untouched_logits(model):
    """Voxels of 1 x 2 x 1 mm (k, j, i): the network resamples j; the loss box is 8 voxels around both outlines."""
    image = volume(ijk_to_lps=np.diag([1.0, 2.0, 1.0, 1.0]))
    session = started(model, None, image, window_border=30)
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[9:13, 8:12] = True
    edit = SliceEdit(0, 10, drawn)
    (window,) = session.cache.windows
    logits = window.features[0].logits
    shape = session.cache.prepared.grid.network_shape
    assert shape != SHAPE
    inside = tuple(slice(-start, -start + n) for (start, _), n in zip(window.network_box, shape, strict=True))
    resampled = F.interpolate(logits[(slice(None), slice(None), *inside)], SHAPE, mode="trilinear", align_corners=False)
    plane = (resampled[0, 1] - resampled[0, 0]).numpy()[10]
    touched = np.argwhere(drawn | session.window_prediction[10])
    box = tuple(
        slice(max(0, low - 8), min(n, high + 9))
        for low, high, n in zip(touched.min(0), touched.max(0), SHAPE[1:], strict=True)
    )

    predicted = session.window_prediction[10]
    expected = describe([DrawnSlice(drawn[box], predicted[box], plane[box], (2.0, 1.0))])

    spacing_mm = session.propagation.network_spacing_mm
    described = describe_edit(session.cache, network_edit(session, [edit]), spacing_mm)
    assert np.allclose(described, expected, atol=1e-4)
    assert not np.allclose(
        expected, describe([DrawnSlice(drawn[box], predicted[box], plane[box], (1.0, 1.0))]), atol=1e-4
    )


@pytest.mark.parametrize("mostly_in", [0, -1])
def test_a_slice_in_several_windows_is_described_by_the_one_that_owns_most_of_it(model, mostly_in):
    image = volume((16, 16, 64))
    plan = Session(model).set_image(image, ball(image.shape_kji, radius=30))
    session = Session(model, SessionSettings(memory_budget_bytes=int(plan.peak_bytes * 0.99)))
    session.set_image(image, ball(image.shape_kji, radius=30))
    cache = session.cache
    number = mostly_in % len(cache.windows)
    window = cache.windows[number]
    columns = np.flatnonzero((cache.owner[8, 5:11] == number).all(axis=0))
    inner = columns[-1] if mostly_in == 0 else columns[0]  # where it meets the next window
    edges = (inner - 8, inner + 3) if mostly_in == 0 else (inner - 2, inner + 9)
    # nothing is drawn or predicted elsewhere on the slice
    drawn, untouched = np.zeros(image.shape_kji, bool), np.zeros(image.shape_kji, bool)
    drawn[8, 5:11, slice(*edges)] = True
    edit = NetworkEdit(0, (8,), drawn, untouched)
    mine = cache.owner[8, 5:11, slice(*edges)] == number
    assert 0.5 < mine.mean() < 1

    low, high = window.image_box[2]
    box = (slice(0, 16), slice(max(low, edges[0] - 8), min(high, edges[1] + 8)))
    logits = window.features[0].logits[0, :, 8]
    shown = tuple(
        slice(s.start - start, s.stop - start) for s, (start, _) in zip(box, window.network_box[1:], strict=True)
    )
    target_logit = (logits[1] - logits[0]).numpy()[shown]
    expected = describe([DrawnSlice(drawn[8][box], untouched[8][box], target_logit, (1.0, 1.0))])
    assert np.allclose(describe_edit(cache, edit, (1.0, 1.0, 1.0)), expected, atol=1e-5)


def test_an_edit_that_no_window_sees_says_nothing_and_reaches_no_far_slice(model):
    channels = volume().channels
    channels[:, :6] = 0  # nnU-Net crops an image to its non-zero part
    session = started(model, random_fusion(model), SourceVolume(channels, np.eye(4)))
    edit = SliceEdit(0, 2, ball()[12])
    description = describe_edit(session.cache, network_edit(session, [edit]), (1.0, 1.0, 1.0))
    result = session.propagate([edit])
    assert np.array_equal(description, no_description())
    assert not result.changed.any()
    assert np.array_equal(result.segmentation[2], edit.mask)
