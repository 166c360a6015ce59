"""A fusion network's training that is interrupted, and checkpoints that cannot be continued."""

import pickle
from functools import cache, partial
from pathlib import Path

import pytest
import torch

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.training.fusion.fusion_training import TrainingSettings, train_fusion
from small_training import ARCHITECTURE, same, train, weights_of

# ---- interruptions


def interrupted(model, training, validation, checkpoint, steps, epochs=3, averaging=0.0):
    """Train until so many steps are done."""
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) > steps

    with pytest.raises(Cancelled):
        train_fusion(
            model, model.splits[0], ARCHITECTURE, TrainingSettings(epochs=epochs, seed=1, averaging=averaging),
            training, validation, checkpoint, cancelled=cancelled,
        )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(model, training, validation):
    """One training for each averaging."""
    return cache(lambda averaging: train(model, training, validation, epochs=3, seed=1, averaging=averaging))


@pytest.mark.quick(steps=4, averaging=0.9)
@pytest.mark.parametrize(("steps", "averaging"), [(3, 0.0), (4, 0.0), (8, 0.0), (4, 0.9)])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    model, training, validation, uninterrupted, tmp_path, steps, averaging
):
    """Three steps are an epoch: after one, within the second, within the third."""
    settings = {"epochs": 3, "seed": 1, "averaging": averaging}
    interrupted(model, training, validation, tmp_path / "checkpoint", steps, averaging=averaging)
    further = []
    resumed = train(model, training, validation, checkpoint=tmp_path / "checkpoint", on_epoch=further, **settings)
    assert same(weights_of(resumed), weights_of(uninterrupted(averaging)))
    assert resumed.log == uninterrupted(averaging).log
    assert [line.epoch for line in further] == list(range(steps // 3 + 1, 4))


def test_a_training_interrupted_twice_ends_the_same_too(model, training, tmp_path):
    for _ in range(2):
        interrupted(model, training, (), tmp_path / "checkpoint", 4)
    resumed = train(model, training, checkpoint=tmp_path / "checkpoint", epochs=3, seed=1)
    assert same(weights_of(resumed), weights_of(train(model, training, epochs=3, seed=1)))


def test_cancelled_before_the_first_epoch_is_done_leaves_no_checkpoint(model, training, tmp_path):
    interrupted(model, training, (), tmp_path / "checkpoint", 2)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_training_is_not_repeated(model, training, tmp_path):
    first = train(model, training, checkpoint=tmp_path / "checkpoint")
    further = []
    again = train(model, training, checkpoint=tmp_path / "checkpoint", on_epoch=further)
    assert further == []
    assert same(weights_of(again), weights_of(first))


def test_a_training_that_had_stalled_does_not_go_on_when_it_is_read_again(model, training, validation, tmp_path):
    settings = {"epochs": 5, "learning_rate": 1e-12, "patience": 1, "checkpoint": tmp_path / "checkpoint"}
    train(model, training, validation, **settings)
    assert len(train(model, training, validation, **settings).log) == 2


# ---- checkpoints that cannot be continued


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 5}, "settings"),
        ({"epochs": 9}, "settings"),
        ({"inputs_shown": "no edit"}, "settings"),
        ({"architecture": FusionSettings("adaptive", 8, 1.0)}, "architecture"),
        ({"architecture": FusionSettings("paper", 8, 0.5), "loss": "dice"}, "architecture and settings"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused_and_kept(model, training, tmp_path, changes, named):
    checkpoint = tmp_path / "checkpoint"
    train(model, training[:1], checkpoint=checkpoint, epochs=1)
    content = checkpoint.read_bytes()
    with pytest.raises(UserInputError, match=f"checkpoint' belongs to a training with other {named}; delete it"):
        train(model, training[:1], checkpoint=checkpoint, **{"epochs": 1, **changes})
    assert checkpoint.read_bytes() == content


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_truncated_checkpoint_is_refused(model, training, tmp_path, keep):
    checkpoint = tmp_path / "checkpoint"
    train(model, training[:1], checkpoint=checkpoint, epochs=1)
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(UserInputError, match="is not a training checkpoint .*delete it to start again"):
        train(model, training[:1], checkpoint=checkpoint, epochs=1)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "weights"])
def test_a_file_of_something_else_is_refused(model, training, tmp_path, content):
    torch.save(content, tmp_path / "checkpoint")
    with pytest.raises(UserInputError, match="is not a training checkpoint.*delete it to start again"):
        train(model, training[:1], checkpoint=tmp_path / "checkpoint", epochs=1)


class _Touches:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _pickle(item, path):
    path.write_bytes(pickle.dumps(item, 2))


def _unpickle(path):
    return pickle.loads(path.read_bytes())


@pytest.mark.parametrize(("write", "unsafe_read"), [(torch.save, partial(torch.load, weights_only=False)),
                                                    (_pickle, _unpickle)])  # fmt: skip
def test_code_in_a_checkpoint_is_refused_and_does_not_run(model, training, tmp_path, write, unsafe_read):
    marker = tmp_path / "code-has-run"
    write({"log": _Touches(marker)}, tmp_path / "checkpoint")
    with pytest.raises(UserInputError, match="is not a training checkpoint"):
        train(model, training[:1], checkpoint=tmp_path / "checkpoint", epochs=1)
    assert not marker.exists()
    unsafe_read(tmp_path / "checkpoint")
    assert marker.exists()  # so the code would have run
