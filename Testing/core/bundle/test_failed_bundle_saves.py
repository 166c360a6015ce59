"""A save that is refused, or fails at any step, leaves no bundle, or the older one."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from bundle_checks import everything_below
from bundles import PROVENANCE, random_fusion, write_bundle
from context_propagation.core.bundle import bundle_saving
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.storage import whole_file

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- what does not fit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"folds": [0], "channels": 4}, "is for 4 channels, and the base model has 8 at level 2"),
        ({"folds": [0], "level": 3}, "Decoder level 3 is beyond this network's decoder"),
        ({"folds": [0], "hidden_truth": 1}, "needs 1 number of the ground truth, which only an evaluation has"),
        ({}, "1 fusion network for 2 folds of the base model (0, 1); give one for each fold"),
        ({"folds": [5]}, "Fold '5' has no checkpoint_final.pth"),
        ({"folds": [0], "label": "spleen"}, "no label 'spleen'"),
        ({"folds": [0], "orientation": "LPX"}, "The orientation 'LPX' is not three letters such as LPS or RAS"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_leaves_nothing(tmp_path, base, options, expected):
    with pytest.raises(UserInputError) as caught:
        write_bundle(tmp_path / "b", base, **options)

    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_numbers_are_not_saved(tmp_path, base):
    fusion = random_fusion()
    fusion.networks[0].join.bias[0] = torch.nan

    with pytest.raises(UserInputError, match="NaN or infinite"):
        save_bundle(tmp_path / "b", base, fusion, PROVENANCE, label="GTV", folds=[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), np.float32(0.5)])
def test_provenance_that_json_cannot_hold_is_refused(tmp_path, base, value):
    with pytest.raises(UserInputError, match="The provenance cannot be kept as JSON"):
        save_bundle(tmp_path / "b", base, random_fusion(), {"value": value}, label="GTV", folds=[0])
    assert list(tmp_path.iterdir()) == []


def test_logs_that_are_missing_leave_no_bundle(tmp_path, base):
    with pytest.raises(UserInputError, match="Cannot write bundle"):
        save_bundle(
            tmp_path / "b", base, random_fusion(), PROVENANCE, label="GTV", folds=[0], training=tmp_path / "gone"
        )
    assert list(tmp_path.iterdir()) == []


# ---- what fails on the way


@contextmanager
def files_stay_below(size: int):
    """As on a full disk: the system refuses to write more. Around the save alone: pytest may write to a file, too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("copy_base", [True, False])
@pytest.mark.parametrize("size", [0, 4096])
def test_a_full_disk_leaves_nothing(tmp_path, base, size, copy_base):
    with pytest.raises(UserInputError) as caught, files_stay_below(size):
        write_bundle(tmp_path / "b", base, folds=[0], copy_base=copy_base)

    assert str(caught.value).startswith(f"Cannot write bundle '{tmp_path / 'b'}': ")
    assert str(caught.value).endswith("; choose another place")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.quick(reason=KeyboardInterrupt)
@pytest.mark.parametrize("step", ["copy_base_model", "write_network", "write_description", "_swap"])
@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_save_that_fails_at_any_step_leaves_the_older_bundle(bundle, base, monkeypatch, step, reason):
    before = everything_below(bundle.parent)

    def fail(*_, **__):
        raise reason

    monkeypatch.setattr(whole_file if step == "_swap" else bundle_saving, step, fail)
    expected = KeyboardInterrupt if reason is KeyboardInterrupt else UserInputError
    with pytest.raises(expected):
        write_bundle(bundle, base, folds=[0])

    assert everything_below(bundle.parent) == before


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_where_the_last_move_fails_the_older_bundle_is_put_back(bundle, base, monkeypatch, reason):
    before = everything_below(bundle.parent)
    rename = whole_file.os.rename

    def fail_for_the_new_one(source, destination):
        if whole_file.PARTIAL in str(source):
            raise reason
        rename(source, destination)

    monkeypatch.setattr(whole_file.os, "rename", fail_for_the_new_one)
    with pytest.raises((UserInputError, KeyboardInterrupt)):
        write_bundle(bundle, base, folds=[0])

    assert everything_below(bundle.parent) == before
