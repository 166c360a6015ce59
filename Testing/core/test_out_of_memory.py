"""Real failures of real allocations: what a user reads, and what stays as it was."""

import numpy as np
import pytest
import torch

from context_propagation.core.device import out_of_memory_reported
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.session import Session
from nnunet_folders import write_nnunet_folder

TOO_MANY_BYTES = 2**60


def take_too_much(*_):
    torch.empty(TOO_MANY_BYTES, dtype=torch.uint8)


@pytest.mark.parametrize("take", [take_too_much, lambda: np.empty(TOO_MANY_BYTES, np.uint8)], ids=["torch", "numpy"])
def test_an_allocation_that_fails_is_reported_with_what_to_do(take):
    expected = r"^Fusing needs more memory.*nothing was changed.*with more memory"
    with pytest.raises(UserInputError, match=expected), out_of_memory_reported("Fusing"):
        take()


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="must match"), out_of_memory_reported("Fusing"):
        torch.ones(2) + torch.ones(3)


@pytest.fixture
def session(tmp_path):
    session = Session(NnunetModel.load(write_nnunet_folder(tmp_path, features=(4, 8, 8)), device="cpu"))
    noise = np.random.default_rng(0).normal(size=(1, 16, 18, 20)).astype(np.float32)
    session.set_image(SourceVolume(noise, np.eye(4)))
    return session


def test_a_session_that_runs_out_while_propagating_is_as_it_was(session):
    """The callback stands for any allocation in the middle of the work."""
    before = session.segmentation.copy()
    edit = SliceEdit(0, 8, ~session.window_prediction[8])
    with pytest.raises(UserInputError, match="Propagating the edit needs more memory"):
        session.propagate([edit], progress=take_too_much)
    assert np.array_equal(session.segmentation, before)
    assert (session.records, session.done) == ((), [])
    assert np.array_equal(session.propagate([edit]).segmentation[8], edit.mask)


def test_where_memory_runs_out_in_the_encoder_smaller_windows_are_cached_and_that_is_said(tmp_path, monkeypatch):
    model = NnunetModel.load(write_nnunet_folder(tmp_path, features=(4, 8, 8), patch_size=(16, 16, 16)), device="cpu")
    noise = np.random.default_rng(0).normal(size=(1, 48, 48, 48)).astype(np.float32)
    target = np.zeros((48, 48, 48), bool)
    target[4:44, 4:44, 4:44] = True
    (split,) = model.splits
    encode, tried = split.encode, []

    def small_machine(x, level):
        tried.append(x.numel())
        if x.numel() > 32**3:
            take_too_much()
        return encode(x, level)

    monkeypatch.setattr(split, "encode", small_machine)
    session = Session(model)

    plan = session.set_image(SourceVolume(noise, np.eye(4)), target)

    assert tried[0] > 32**3
    assert max(tried[-len(plan.boxes) :]) <= 32**3
    assert len(plan.boxes) == len(session.cache.windows) > 1
    assert plan.messages[0] == "Memory ran out while the image was cached, so less of it is cached at a time"
    edit = SliceEdit(0, 24, ~session.window_prediction[24])
    assert np.array_equal(session.propagate([edit]).segmentation[24], edit.mask)


def test_where_even_the_smallest_windows_do_not_fit_the_image_is_refused(session, monkeypatch):
    (split,) = session.model.splits
    monkeypatch.setattr(split, "encode", take_too_much)
    before = session.volume

    with pytest.raises(UserInputError, match="Caching the image needs more memory than there is"):
        session.set_image(SourceVolume(before.channels + 1, np.eye(4)))

    assert session.volume is before


def test_a_session_that_runs_out_while_caching_keeps_its_image(session):
    volume = session.volume
    with pytest.raises(UserInputError, match="Caching the image needs more memory"):
        session.set_image(SourceVolume(volume.channels + 1, np.eye(4)), progress=take_too_much)
    assert session.volume is volume
