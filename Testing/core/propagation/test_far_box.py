"""Where far labels may flip: boxes by hand, and held against decoding all that the windows own."""

from dataclasses import replace

import numpy as np
import pytest

from context_propagation.core.callbacks import never_cancelled, no_progress
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation import far_box as module
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.far_box import far_box, grown_box
from context_propagation.core.propagation.far_slices import far_margins
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.session.session import Session
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (40, 36, 32)
SPACING_MM = (2.5, 1.0, 4.0)
PREDICTED = ((18, 22), (10, 14), (12, 20))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8)), device="cpu")


@pytest.fixture(scope="module")
def cache(model):
    """One window that decodes the whole image, in which little is predicted."""
    noise = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    session = Session(model)
    session.set_image(SourceVolume(noise, np.eye(4)), np.ones(SHAPE, bool))
    return with_prediction(session.cache, PREDICTED)


def with_prediction(cache, box=None):
    prediction = np.zeros(SHAPE, bool)
    if box is not None:
        prediction[slices_of(box)] = True
    return replace(cache, window_prediction=prediction)


def edit_of(cache, box=None, indices=(20,)):
    drawn = np.zeros(SHAPE, bool)
    if box is not None:
        drawn[slices_of(box)] = True
    return NetworkEdit(0, indices, drawn, cache.window_prediction)


def test_the_box_is_6_mm_around_prediction_and_drawing(cache):
    # 3, 6 and 2 voxels; the image ends at 36 along the second axis
    edit = edit_of(cache, ((20, 21), (12, 30), (12, 18)))
    assert far_box(cache, 0, edit, SPACING_MM) == ((15, 25), (4, 36), (10, 22))
    assert far_box(cache, 0, edit_of(cache), SPACING_MM) == ((15, 25), (4, 20), (10, 22))


def test_only_the_drawn_slices_count_and_an_unseen_target_has_the_box_of_its_drawing(cache):
    empty = with_prediction(cache)
    edit = edit_of(empty, ((10, 30), (12, 14), (12, 18)), indices=(20, 24))
    assert far_box(empty, 0, edit, SPACING_MM) == ((17, 28), (6, 20), (10, 20))


def test_nothing_drawn_and_nothing_predicted_has_no_box(cache):
    empty = with_prediction(cache)
    assert far_box(empty, 0, edit_of(empty), SPACING_MM) is None


def test_the_box_ends_where_the_window_owns_nothing_more(cache):
    owner = np.full(SHAPE, 1, np.int16)
    owner[:, 5:20] = 0
    assert far_box(replace(cache, owner=owner), 0, edit_of(cache), SPACING_MM) == ((15, 25), (5, 20), (10, 22))
    assert far_box(replace(cache, owner=np.full(SHAPE, 1, np.int16)), 0, edit_of(cache), SPACING_MM) is None


def test_a_box_grows_only_where_labels_flip_on_its_faces(cache):
    box = ((14, 26), (2, 24), (9, 23))
    values = np.where(cache.window_prediction, 0.5, -0.5)[slices_of(box)].astype(np.float16)
    assert grown_box(cache, 0, Margins(box, values), SPACING_MM) == box
    values[5, 5, 5] = 0.5  # inside
    values[0, 4, 4] = np.nan  # not known
    assert grown_box(cache, 0, Margins(box, values), SPACING_MM) == box
    values[0, 3, 3] = 0.1
    values[6, -1, 4] = 0.9
    assert grown_box(cache, 0, Margins(box, values), SPACING_MM) == ((11, 26), (2, 30), (9, 23))


def test_every_flip_that_hangs_together_with_the_box_is_decoded_as_without_a_box(cache, model, monkeypatch):
    """The random network flips labels far beyond the border of a millimetre."""
    fusion, edit = random_fusion(model, strength=0.3), edit_of(cache, ((20, 21), (12, 22), (12, 18)))
    given = cache, fusion, edit, (), SPACING_MM, no_progress, never_cancelled
    monkeypatch.setattr(module, "FAR_BORDER_MM", 1000.0)
    everything = far_margins(*given)
    assert everything.box == ((0, 40), (0, 36), (0, 32))
    flips = (everything.values > 0) != cache.window_prediction
    monkeypatch.setattr(module, "FAR_BORDER_MM", 1.0)

    some = far_margins(*given)

    assert some.box != far_box(cache, 0, edit, SPACING_MM)
    assert np.array_equal(some.values, everything.values[slices_of(some.box)])
    for axis, (span, n) in enumerate(zip(some.box, SHAPE, strict=True)):
        for end, limit in zip((span[0], span[1] - 1), (0, n - 1), strict=True):
            face = list(slices_of(some.box))
            face[axis] = end
            assert end == limit or not flips[tuple(face)].any()
