"""Training of a fusion network on a small real U-Net: the loss by hand, what is shown, which weights are kept."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.trained_fusion import build_fusion_network
from context_propagation.training.fusion.fusion_training import TrainingSettings, train_fusion
from small_training import ARCHITECTURE, NEAR, example, logit_of, readers, same, train, weights_of


def fused_at_the_start(item):
    """By the network that a training with seed 0 begins with."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return build_fusion_network(ARCHITECTURE)(item.inputs)


def loss_by_hand(before, z, truth, far, cross_entropy=True, axis=0):
    """Dice and cross-entropy of all far voxels; four times the mean of what slices lose."""
    slices = np.moveaxis(far, axis, 0)[:, 0, 0]
    before, z, y = (np.moveaxis(values, axis, 0)[slices].astype(float) for values in (before, z, truth))
    lost = [max(0.0, soft_dsc(b, of) - soft_dsc(a, of)) for b, a, of in zip(before, z, y, strict=True)]
    p = 1 / (1 + np.exp(-z))
    dice = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    return 1 - dice + (entropy if cross_entropy else 0) + 4 * np.mean(lost)


def soft_dsc(z, y):
    p = 1 / (1 + np.exp(-z))
    return (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


# ---- what is learnt


@pytest.mark.parametrize("loss", ["dice and cross-entropy", "dice"])
def test_the_first_loss_is_the_base_model_s_on_far_slices_of_what_the_fresh_network_makes_and_their_harm(model, loss):
    """Two edits with near slices of their own, in planes of their own, are averaged."""
    item = example(model, near=(NEAR, slice(0, 4)), axes=(0, 2))
    trained = train(model, readers(item), epochs=1, loss=loss)
    z = [logit_of(model, item, fused[None])[0] for fused in fused_at_the_start(item)]
    far = item.far.numpy()
    before = logit_of(model, item, item.inputs.f)[0]
    expected = [
        loss_by_hand(before, of_edit, item.truth.numpy(), one, loss == "dice and cross-entropy", axis)
        for of_edit, one, axis in zip(z, far, item.axes, strict=True)
    ]
    assert trained.log[0].training_loss == pytest.approx(np.mean(expected), rel=1e-4)
    assert abs(expected[0] - expected[1]) > 1e-3


def test_the_paper_s_network_is_charged_for_no_harm(model):
    item, paper = example(model), replace(ARCHITECTURE, variant="paper")
    losses = [
        train(model, readers(item), epochs=1, architecture=paper, **chosen).log[0].training_loss
        for chosen in ({}, {"harm_weight": 0.0}, {"harm_weight": 4.0})
    ]
    assert losses[0] == losses[1] < losses[2]


def test_the_ground_truth_on_near_slices_changes_nothing(model):
    item = example(model)
    other = replace(item, truth=item.truth.clone())
    other.truth[NEAR] = ~other.truth[NEAR]
    one, two = (train(model, readers(it), readers(it)) for it in (item, other))
    assert same(weights_of(one), weights_of(two))
    assert one.log == two.log


def test_the_ground_truth_on_far_slices_does(model):
    item = example(model)
    other = replace(item, truth=item.truth.clone())
    other.truth[0] = ~other.truth[0]
    one, two = (train(model, readers(it), readers(it)) for it in (item, other))
    assert not same(weights_of(one), weights_of(two))
    assert one.log[0].validation_loss != two.log[0].validation_loss


def test_validation_is_loss_and_dsc_of_the_far_slices_with_the_trained_weights(model, training):
    item = example(model, 7, (NEAR, slice(0, 9)))
    trained = train(model, training, readers(item), epochs=1)
    z = logit_of(model, replace(item, decoder=_repeated(item.decoder, 2)), trained.network(item.inputs))
    before, losses, dscs = logit_of(model, item, item.inputs.f)[0], [], []
    for edit, far in enumerate(item.far.numpy()):
        predicted, truth = (z[edit] > 0) & far, item.truth.numpy() & far
        losses.append(loss_by_hand(before, z[edit], item.truth.numpy(), far))
        dscs.append(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
    assert trained.log[0].validation_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert trained.log[0].validation_dsc == pytest.approx(np.mean(dscs), abs=1e-6)
    assert 0 < np.mean(dscs) < 1


def _repeated(decoder, edits):
    return replace(decoder, skips=tuple(skip.expand(edits, -1, -1, -1, -1) for skip in decoder.skips))


def test_a_validation_edit_with_nothing_far_predicted_or_true_counts_one(model, training):
    item = example(model, 7)
    z = logit_of(model, item, fused_at_the_start(item))[0]
    nowhere = torch.from_numpy(z <= -0.5)[None] & ~item.truth
    trained = train(model, training, readers(replace(item, far=nowhere)), epochs=1, learning_rate=1e-9)
    assert nowhere.any()
    assert trained.log[0].validation_dsc == 1


def test_training_lowers_the_loss(model):
    """The truth is what f' predicts: fusion need only learn to pass f' on."""
    item = example(model)
    item = replace(item, truth=torch.from_numpy(logit_of(model, item, item.inputs.f_updated)[0] > 0))
    losses = [line.training_loss for line in train(model, readers(item), epochs=20, learning_rate=0.02).log]
    assert losses[-1] < losses[0] - 0.01


def test_without_validation_its_figures_are_unknown(model, training):
    (line,) = train(model, training, epochs=1).log
    assert math.isnan(line.validation_loss)
    assert math.isnan(line.validation_dsc)


def test_the_learning_rate_falls_as_nnu_net_s_does(model, training, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def noted(optimizer, *arguments):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    train(model, training, epochs=3, learning_rate=0.01)
    by_epoch = [0.01, 0.01 * (2 / 3) ** 0.9, 0.01 * (1 / 3) ** 0.9]
    assert rates == pytest.approx([rate for rate in by_epoch for _ in training], rel=1e-12)


def test_the_base_model_keeps_its_weights_and_gets_no_gradients(model, training):
    tail = model.splits[0].cut(2).tail
    before = {name: tensor.clone() for name, tensor in tail.state_dict().items()}
    train(model, training)
    assert same(before, tail.state_dict())
    assert all(parameter.grad is None for parameter in tail.parameters())


# ---- what a network is shown


def test_a_control_that_sees_no_edit_learns_the_same_from_any_edit(model):
    item = example(model)
    given = item.inputs
    other = replace(
        item,
        inputs=FusionInputs(
            given.f, given.f_updated + 1, given.edit_maps * 0, given.descriptions + 1, -given.prototypes
        ),
    )
    blind = [weights_of(train(model, readers(it), inputs_shown="no edit")) for it in (item, other)]
    seeing = [weights_of(train(model, readers(it))) for it in (item, other)]
    assert same(*blind)
    assert not same(*seeing)


def test_an_oracle_learns_from_what_it_is_told(model):
    item = example(model, hidden_truth=3)
    other = replace(item, hidden_truth=item.hidden_truth + 1)
    oracle = FusionSettings("adaptive", 8, 0.5, hidden_truth=3)
    one, two = (train(model, readers(it), architecture=oracle, inputs_shown="hidden truth") for it in (item, other))
    assert not same(weights_of(one), weights_of(two))
    assert not one.network.hidden_truth.any()


def test_others_learn_from_the_same_cases_without_being_told(model):
    with_it = example(model, hidden_truth=3)
    without = replace(example(model, hidden_truth=3), hidden_truth=torch.zeros(0))
    assert same(*(weights_of(train(model, readers(item))) for item in (with_it, without)))


# ---- which weights are kept


def test_the_weights_of_the_best_epoch_are_kept(model, tmp_path):
    """The validation truth is what the fresh network predicts: every step with this rate leads away from it."""
    item = example(model, 7)
    truth = torch.from_numpy(logit_of(model, item, fused_at_the_start(item))[0] > 0)
    weights = []

    def keep(line):
        weights.append(torch.load(tmp_path / "checkpoint", weights_only=True)["weights"])

    trained = train(
        model, readers(example(model)), readers(replace(item, truth=truth)), checkpoint=tmp_path / "checkpoint",
        on_epoch=keep, epochs=4, learning_rate=0.01,
    )  # fmt: skip
    dscs = [line.validation_dsc for line in trained.log]
    best = dscs.index(max(dscs))
    assert best < 3
    assert same(weights_of(trained), weights[best])
    assert not same(weights_of(trained), weights[-1])


def test_without_validation_the_last_weights_are_kept(model, training, tmp_path):
    trained = train(model, training, checkpoint=tmp_path / "checkpoint", epochs=3)
    assert same(weights_of(trained), torch.load(tmp_path / "checkpoint", weights_only=True)["weights"])


def test_averaged_weights_are_the_moving_average_of_those_after_each_step(model, training):
    """By hand over two steps: 0.75 of the weights after the first and 0.25 of those after the second."""
    order = torch.randperm(2, generator=torch.Generator().manual_seed(0)).tolist()
    first = weights_of(train(model, [training[order[0]]], epochs=1))
    second = weights_of(train(model, training[:2], epochs=1))

    averaged = weights_of(train(model, training[:2], epochs=1, averaging=0.75))

    assert not same(first, second)
    for name, weights in averaged.items():
        torch.testing.assert_close(weights, 0.75 * first[name] + 0.25 * second[name], atol=1e-6, rtol=1e-5)


def test_the_result_is_ready_for_use(model, training):
    network = train(model, training).network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.quick(patience=(2, None))
@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 3), (None, 5)])
def test_training_stops_after_so_many_epochs_without_a_better_dsc(model, training, validation, patience, epochs):
    """With this learning rate no DSC changes, so the first epoch stays the best."""
    trained = train(model, training, validation, epochs=5, learning_rate=1e-12, patience=patience)
    assert len({line.validation_dsc for line in trained.log}) == 1
    assert [line.epoch for line in trained.log] == list(range(1, epochs + 1))


def test_without_validation_nothing_stops_early(model, training):
    assert len(train(model, training, epochs=4, patience=1).log) == 4


# ---- chance


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(model, training):
    one, two, other = (weights_of(train(model, training, seed=seed)) for seed in (3, 3, 4))
    assert same(one, two)
    assert not same(one, other)


def test_every_example_is_read_once_in_each_epoch_in_an_order_that_changes(model):
    read = []

    def reader(number, item):
        read.append(number)
        return item

    item = example(model)
    train(model, [partial(reader, number, item) for number in range(5)], epochs=3)
    epochs = [read[5 * epoch : 5 * epoch + 5] for epoch in range(3)]
    assert [sorted(order) for order in epochs] == [list(range(5))] * 3
    assert len({tuple(order) for order in epochs}) > 1


def test_training_leaves_the_caller_s_random_numbers_alone(model, training):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        before = torch.random.get_rng_state()
        train(model, training, epochs=1)
        assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_grows_to_one_and_every_epoch_is_told(model, training):
    fractions, lines = [], []
    trained = train_fusion(
        model, model.splits[0], ARCHITECTURE, TrainingSettings(epochs=2), training, on_epoch=lines.append,
        progress=fractions.append,
    )  # fmt: skip
    assert fractions == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert tuple(lines) == trained.log


# ---- refusals


def test_a_training_without_examples_is_refused(model):
    with pytest.raises(UserInputError, match="No training examples; give cases"):
        train(model, [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "0 epochs; give at least 1"),
        ({"learning_rate": 0.0}, "learning rate is 0.0; give a number above 0"),
        ({"learning_rate": -1.0}, "learning rate is -1.0"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"averaging": 1.0}, "share kept in averaging is 1.0"),
        ({"harm_weight": -1.0}, "weight of the harm is -1.0; give a number of at least 0"),
        ({"harm_weight": math.nan}, "weight of the harm is nan"),
    ],
)
def test_settings_that_train_nothing_are_refused(changes, said):
    with pytest.raises(UserInputError, match=said):
        TrainingSettings(**changes)
