"""What a model made of the last image is used again, and only for that image."""

import gc
import weakref
from collections import Counter

import numpy as np
import pytest

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.ready_image import forget_image, ready_image
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 20)
QUICK = SessionSettings(update=UpdateSettings(iterations=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture
def model(folder):
    return NnunetModel.load(folder, device="cpu")


@pytest.fixture
def calls(model, monkeypatch):
    """How often the model did each of its expensive things."""
    counted = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counting(*arguments, **options):
            counted[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    for owner, name in ((model, "prepare"), (model, "predict"), (model.splits[0], "encode")):
        count(owner, name)
    return counted


def voxels(seed=0):
    return np.random.default_rng(seed).normal(size=(1, *SHAPE)).astype(np.float32)


def image(seed=0, ijk_to_lps=None):
    return SourceVolume(voxels(seed), np.eye(4) if ijk_to_lps is None else ijk_to_lps)


def test_an_image_that_is_set_again_is_not_prepared_predicted_or_encoded_again(model, calls):
    session = Session(model, QUICK)
    session.set_image(image())
    first, prediction = session.initial.copy(), session.window_prediction.copy()
    session.propagate([SliceEdit(0, 10, ~session.window_prediction[10])])

    session.set_image(image())

    assert calls == {"prepare": 1, "predict": 1, "encode": 1}
    assert np.array_equal(session.initial, first)
    assert np.array_equal(session.segmentation, first)
    assert np.array_equal(session.window_prediction, prediction)
    assert session.records == ()


def test_another_session_of_the_model_takes_what_was_prepared_and_predicted(model, calls):
    one, other = Session(model, QUICK), Session(model, QUICK)
    one.set_image(image())
    one.segmentation[...] = False  # whatever becomes of its masks

    other.set_image(image())

    assert (calls["prepare"], calls["predict"]) == (1, 1)
    assert other.initial.any()
    assert np.array_equal(other.initial, model.predict(model.prepare(image())))


@pytest.mark.parametrize(
    "other",
    [image(1), image(0, np.diag([1.0, 1.0, 2.0, 1.0])), image(0, np.diag([-1.0, 1.0, 1.0, 1.0]))],
    ids=["voxels", "spacing", "axes"],
)
def test_another_image_is_prepared_anew(model, calls, other):
    ready_image(model, image())
    ready = ready_image(model, other)
    assert calls["prepare"] == 2
    assert ready.volume is other


def test_voxels_changed_in_place_are_another_image(model, calls):
    volume = image()
    before = ready_image(model, volume).prepared
    volume.channels[0, 3, 3, 3] += 5
    after = ready_image(model, volume).prepared
    assert calls["prepare"] == 2
    assert (before.network_input != after.network_input).any()


def test_a_first_segmentation_of_an_image_that_was_predicted_is_kept(model, calls):
    Session(model, QUICK).set_image(image())
    given = np.zeros(SHAPE, bool)
    given[8:14, 6:15, 5:14] = True
    session = Session(model, QUICK)
    session.set_image(image(), given)
    assert np.array_equal(session.initial, given)
    assert calls["predict"] == 1


def test_what_was_prepared_is_freed_where_the_image_is_forgotten(model):
    prepared = weakref.ref(ready_image(model, image()).prepared)
    gc.collect()
    assert prepared() is not None
    forget_image(model)
    gc.collect()
    assert prepared() is None


def test_what_was_prepared_goes_with_the_model(folder):
    model = NnunetModel.load(folder, device="cpu")
    prepared = weakref.ref(ready_image(model, image()).prepared)
    gc.collect()
    assert prepared() is not None
    del model
    gc.collect()
    assert prepared() is None
