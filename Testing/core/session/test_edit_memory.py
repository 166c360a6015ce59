"""On a large image an edit works in boxes: NumPy's memory is counted."""

import tracemalloc

import numpy as np
import pytest

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (100, 200, 150)
VOXELS = 100 * 200 * 150


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_a_propagation_makes_no_masks_of_the_whole_image_but_the_drawing_and_the_result(tmp_path, transpose):
    """The network sees a small part, around which the image is 0."""
    folder = write_nnunet_folder(tmp_path, features=(4, 8, 8), transpose_forward=transpose)
    model = NnunetModel.load(folder, device="cpu")
    session = Session(model, SessionSettings(update=UpdateSettings(iterations=2)), random_fusion(model))
    channels = np.zeros((1, *SHAPE), np.float32)
    channels[0, 40:60, 90:110, 70:90] = np.random.default_rng(0).normal(size=(20, 20, 20))
    initial = np.zeros(SHAPE, bool)
    initial[45:55, 95:105, 75:85] = True
    session.set_image(SourceVolume(channels, np.eye(4)), initial)
    drawn = session.window_prediction[50].copy()
    drawn[93:99, 74:80] ^= True

    tracemalloc.start()
    try:
        preview = session.preview([SliceEdit(0, 50, drawn)])
        step = preview.step
        of_preview = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        session.add(step)
        of_writing = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

    assert step.flipped.size
    assert of_preview < 1.5 * VOXELS  # the drawing, of which one slice is touched
    assert of_writing < 1.1 * VOXELS  # the segmentation


def test_masks_that_were_taken_from_a_session_stay_as_they_were_taken(tmp_path):
    model = NnunetModel.load(write_nnunet_folder(tmp_path, features=(4, 8, 8)), device="cpu")
    session = Session(model, SessionSettings(update=UpdateSettings(iterations=2)))
    noise = np.random.default_rng(0).normal(size=(1, 20, 16, 18)).astype(np.float32)
    session.set_image(SourceVolume(noise, np.eye(4)), np.ones((20, 16, 18), bool))
    taken, protected = session.segmentation, session.protected

    session.propagate([SliceEdit(0, 10, ~session.window_prediction[10])])
    session.protect(np.ones(taken.shape, bool))

    assert taken.all()
    assert not protected.any()
    assert not session.segmentation.all()
    assert session.initial.all()
