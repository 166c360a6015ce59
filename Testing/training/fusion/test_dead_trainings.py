"""A fusion network's training that ended with hardly any target left is done again."""

from dataclasses import replace

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.training.fusion import fusion_training
from small_training import agreeing, example, readers, same, train, weights_of


@pytest.fixture
def strict(monkeypatch):
    """Less than three quarters of the untouched DSC counts as dead: a small network does not lose all of it so soon."""
    monkeypatch.setattr(fusion_training, "LEAST_SHARE", 0.75)


def test_a_training_that_died_is_done_again_at_a_third_of_the_learning_rate(model, strict, caplog):
    good = agreeing(model, example(model, 1))
    wrong, reads = replace(good, truth=~good.truth), []

    def first_wrong_then_good():
        reads.append(1)
        return wrong if len(reads) <= 60 else good

    trained = train(model, [first_wrong_then_good] * 30, readers(good), learning_rate=0.03)

    assert len(reads) == 120
    assert "The training died" in caplog.text
    again = train(model, readers(good) * 30, readers(good), learning_rate=0.03 / 3)
    assert same(weights_of(trained), weights_of(again))


@pytest.mark.long
def test_a_training_that_dies_at_every_rate_is_refused(model, monkeypatch):
    monkeypatch.setattr(fusion_training, "LEAST_SHARE", 0.9)
    good = agreeing(model, example(model, 1))

    with pytest.raises(UserInputError, match="3 trainings died"):
        train(model, readers(replace(good, truth=~good.truth)) * 30, readers(good), learning_rate=0.03)
