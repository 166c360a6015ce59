"""The general far network from a tiny base model and coarse phantoms to the folder that ships."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from context_propagation.core.bundle.general_file import (
    CONTROL,
    FILE_NAME,
    general_far_of,
    load_general_far,
    save_general_far,
)
from context_propagation.core.callbacks import never_cancelled
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.phantom.phantom import PhantomSettings
from context_propagation.core.propagation.far_evidence import MAPS, NUMBERS
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.training.general.general_cases import GeneralCase, cached_examples, examples_of
from context_propagation.training.general.general_example import GeneralExample, load_examples
from context_propagation.training.general.general_recipe import BASES, BaseRecipe
from context_propagation.training.general.general_run import TrainGeneralRequest, train_general_network
from context_propagation.training.general.general_thresholds import _shares, choose_general_thresholds
from context_propagation.training.general.general_training import (
    GeneralTrainingSettings,
    corrected_logit,
    far_dsc,
    far_loss,
    train_general,
)
from context_propagation.training.general.hard_images import hard_image
from context_propagation.training.labelled_cases import ModelSource
from nnunet_folders import write_nnunet_folder

COARSE = PhantomSettings("organ", number=3, spacing_ijk_mm=(4.0, 4.0, 4.0))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> ModelSource:
    """On as large voxels as the phantoms'."""
    spacing = COARSE.spacing_ijk_mm
    folder = write_nnunet_folder(
        tmp_path_factory.mktemp("m"), features=(4, 4, 4), patch_size=(32,) * 3, spacing=spacing
    )
    return ModelSource(folder, device="cpu")


@pytest.fixture(scope="module")
def examples(base) -> list[GeneralExample]:
    return list(examples_of(GeneralCase(base, COARSE, 0, 2, 1, 1)))


def made_up(seed: int) -> GeneralExample:
    """What is missing on every slice is where the first reader says it is."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.zeros(9, 8, 8, dtype=torch.bool)
    truth[:, 2:6, 1:7] = True
    logit = torch.where(truth, 1.0, -2.0)
    logit[:, :, 4:] = -2.0
    maps = 0.1 * torch.randn(MAPS, *truth.shape, generator=generator)
    maps[3] = 2.0 * truth - 1
    far = torch.ones(9, dtype=torch.bool)
    far[3:6] = False
    numbers = torch.ones(NUMBERS)
    both = logit.half(), logit.half()  # an update that says nothing of far slices
    return GeneralExample(maps.half(), numbers, 0 * maps.half(), 0 * numbers, *both, truth, far)


MADE_UP = [made_up(seed) for seed in range(6)]
TRAINING = 8 * MADE_UP[:5]
QUICK = GeneralTrainingSettings(epochs=3, learning_rate=0.02, width=4)


@pytest.fixture(scope="module")
def learnt():
    """A network that was trained on what the evidence says, and its log."""
    return train_general(replace(QUICK, epochs=4), TRAINING, MADE_UP[5:])


def test_an_example_holds_the_evidence_with_the_slices_first_and_which_of_them_are_far(examples):
    assert len(examples) == 2
    example = examples[0]
    shape = example.truth.shape
    assert example.maps.shape == example.blind_maps.shape == (MAPS, *shape)
    assert example.numbers.shape == (NUMBERS,)
    assert example.far.shape == shape[:1]
    assert (~example.far).sum() == 5 or not (example.far[0] and example.far[-1])
    assert not torch.equal(example.maps, example.blind_maps)


def test_the_control_s_evidence_shows_the_prediction_in_place_of_the_drawing(examples):
    example = examples[0]
    shown, blind = example.maps[-1], example.blind_maps[-1]
    (index,) = torch.nonzero(shown.flatten(1).any(1))[:, 0].tolist()
    assert torch.equal(shown[index] > 0, example.truth[index])
    assert torch.equal(blind[index] > 0, example.logit[index] > 0)


def test_another_observer_s_edit_is_an_example_with_that_observer_s_truth(examples):
    assert examples[0].truth.sum() != examples[1].truth.sum()


def test_examples_are_kept_on_disk(base, tmp_path):
    case = GeneralCase(base, COARSE, 2, 1, 1, 0)
    path = cached_examples(case, tmp_path)
    (example,) = load_examples(path)
    written = path.stat().st_mtime_ns
    assert cached_examples(case, tmp_path) == path
    assert path.stat().st_mtime_ns == written
    assert torch.equal(example.truth, next(examples_of(case)).truth)
    path.write_bytes(b"nothing")
    with pytest.raises(UserInputError, match="holds no examples"):
        load_examples(path)


def test_hard_images_are_the_same_each_time_and_unlike_the_image():
    image = np.random.default_rng(0).normal(100, 20, (1, 12, 14, 16)).astype(np.float32)
    assert np.array_equal(hard_image(image, 0, 1), image)
    found = [hard_image(image, hardness, 1) for hardness in (0, 1, 2)]
    assert all(np.array_equal(hard_image(image, hardness, 1), found[hardness]) for hardness in (1, 2))
    assert np.abs(found[1] - found[0]).mean() > 0.1
    assert np.abs(found[2] - found[1]).mean() > 0.1


def test_training_learns_what_the_evidence_says_on_far_slices(learnt):
    network, log = learnt
    assert far_dsc(MADE_UP[5], MADE_UP[5].logit.float()) == pytest.approx(2 * 12 / (12 + 24))
    assert log[-1]["validation_dsc"] > 0.9
    assert not network.training


def test_a_network_to_begin_with_is_trained_further_and_kept_where_nothing_gains(learnt):
    start, _ = learnt
    begun = {name: value.clone() for name, value in start.state_dict().items()}
    still, wild = (
        replace(QUICK, learning_rate=1e-9, least_progress=0.0),
        replace(QUICK, learning_rate=5.0, least_progress=0.0),
    )

    for settings in (still, wild):
        network, log = train_general(settings, TRAINING, MADE_UP[5:], start=start)
        assert log[0]["validation_dsc"] <= far_dsc(MADE_UP[5], corrected_logit(start, MADE_UP[5], "edit")) + 1e-6
        assert all(torch.equal(value, begun[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value, begun[name]) for name, value in start.state_dict().items())

    further, _ = train_general(replace(QUICK, epochs=1), TRAINING, MADE_UP[5:])
    again, log = train_general(replace(QUICK, least_progress=0.0), TRAINING, MADE_UP[5:], start=further)
    found = [far_dsc(MADE_UP[5], corrected_logit(network, MADE_UP[5], "edit")) for network in (further, again)]
    assert found[1] > found[0]
    assert found[1] == pytest.approx(max(line["validation_dsc"] for line in log))


def test_few_examples_are_taken_so_often_that_an_epoch_has_the_least_steps():
    steps = []

    train_general(replace(QUICK, epochs=1, least_steps=13), MADE_UP[:3], MADE_UP[5:], on_step=steps.append)

    assert steps == pytest.approx([number / 12 for number in range(1, 13)])  # each of three four times


def test_an_epoch_that_gains_little_is_the_last():
    still = replace(QUICK, learning_rate=1e-9, epochs=4)
    _, log = train_general(still, TRAINING, MADE_UP[5:])
    assert [round(line["validation_dsc"], 3) for line in log] == [0.667, 0.667]


def test_the_control_cannot_learn_it():
    _, log = train_general(replace(QUICK, shown="no edit"), TRAINING, MADE_UP[5:])
    assert max(line["validation_dsc"] for line in log) < 0.85


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    few = TRAINING[:10]
    expected, _ = train_general(QUICK, few, MADE_UP[5:])
    asked = iter(range(1000))
    with pytest.raises(Cancelled):
        train_general(QUICK, few, MADE_UP[5:], tmp_path / "kept", cancelled=lambda: next(asked) > 13)
    resumed, log = train_general(QUICK, few, MADE_UP[5:], tmp_path / "kept", never_cancelled)
    assert len(log) > 1
    for name, weights in expected.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weights)


def test_without_examples_nothing_is_trained():
    with pytest.raises(UserInputError, match="no examples"):
        train_general(QUICK, [], MADE_UP)


def test_a_slice_that_becomes_worse_costs_more_than_one_that_becomes_better_gains():
    example = MADE_UP[0]
    missing = example.truth & (example.logit < 0)
    found = example.truth & (example.logit > 0)
    untouched = far_loss(example, example.logit)
    better = far_loss(example, example.logit + 3.0 * missing)
    worse = far_loss(example, example.logit - 3.0 * found)
    assert better < untouched < worse
    assert worse - untouched > untouched - better


def test_near_slices_do_not_count():
    example = MADE_UP[0]
    logit, near = example.logit.float(), (~example.far)[:, None, None] * torch.ones(example.truth.shape)
    assert torch.equal(far_loss(example, logit + 5 * near), far_loss(example, logit))


def test_the_threshold_counts_as_in_use_a_third_of_it_next_to_the_near_slices():
    third = 1 / 3  # MADE_UP has nine slices, the middle three are near
    expected = [1, 2 * third, third, third, third, third, third, 2 * third, 1]
    assert _shares(MADE_UP[0]).flatten().tolist() == pytest.approx(expected)


def test_thresholds_change_nothing_where_every_change_is_for_the_worse():
    network = GeneralFarNetwork(4).eval()
    torch.nn.init.constant_(network.correction.bias, -9.0)  # nothing is target any more
    thresholds, figures = choose_general_thresholds(network, MADE_UP, 0.02)
    assert thresholds.remove == 1.0
    assert figures["dsc"] == pytest.approx(figures["untouched_dsc"])
    assert figures["regression_rate"] == 0


def test_thresholds_let_through_what_is_for_the_better(learnt):
    network, _ = learnt
    thresholds, figures = choose_general_thresholds(network, MADE_UP[5:], 0.02)
    assert thresholds.add < 1
    assert figures["dsc"] > figures["untouched_dsc"] + 0.1


def test_a_least_gain_holds_back_small_changes_that_are_as_sure_as_the_large_right_ones():
    """Three slices gain their other half, on three others two voxels are wrong; all are equally sure."""
    example = made_up(0)
    updated = example.logit.clone()
    updated[:3][example.truth[:3]] = 6.0
    updated[6:, 0, :2] = 6.0
    thresholds, figures = choose_general_thresholds(
        GeneralFarNetwork(4), [replace(example, updated_logit=updated)], 0.0
    )
    assert thresholds.least_gain in (0.12, 0.2)  # the right changes gain .333, the wrong ones .077
    assert figures["regression_rate"] == 0
    assert figures["dsc"] == pytest.approx(2 * (3 * 24 + 3 * 12) / (3 * 24 + 3 * 12 + 6 * 24))


@dataclass(frozen=True)
class TinyBase(BaseRecipe):
    """In place of a training, a network with random weights."""

    folder: Path = Path()

    def trained(self, work: Path, cases: int, epochs: int) -> ModelSource:
        return ModelSource(self.folder, device="cpu")

    def cases(self, base: ModelSource, phantoms: int):
        for number in (122, 102):  # the first one validates
            yield GeneralCase(base, replace(COARSE, number=number), 0, 2, 1, 0)


def test_one_command_trains_network_and_control_and_writes_what_sessions_load(base, tmp_path):
    output = tmp_path / "general"
    request = TrainGeneralRequest(output, phantoms=7, epochs=1, width=4, jobs=1)
    tiny = TinyBase("tiny", "organ", "nnU-Net", 1, 1, folder=base.folder)
    assert "simulated edits" in train_general_network(request, [tiny])
    general, control = load_general_far(output), load_general_far(output, CONTROL)
    assert isinstance(general.far_thresholds, FarThresholds)
    weights = general.network.state_dict()
    assert any(not torch.equal(weights[name], value) for name, value in control.network.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["general"]


def test_damaged_weights_are_refused(tmp_path):
    one, other = GeneralFarNetwork(4), GeneralFarNetwork(4)
    for thresholds in (FarThresholds(0.2, 0.4, 3, 0.05), FarThresholds(0.2, 0.4, 3)):
        save_general_far(tmp_path, general_far_of(one, thresholds), other, {"made": "here"})
        assert load_general_far(tmp_path).far_thresholds == thresholds
        load_general_far.cache_clear()
    text = (tmp_path / FILE_NAME).read_text()
    (tmp_path / FILE_NAME).write_text(text.replace("0.4", "0.1"))
    with pytest.raises(UserInputError, match="SHA-256"):
        load_general_far(tmp_path)


def test_the_recipe_learns_from_no_phantom_that_a_base_model_was_trained_on():
    request = TrainGeneralRequest()
    for recipe in BASES:
        cases = list(recipe.cases(ModelSource(Path("m")), request.phantoms))
        assert min(case.phantom.number for case in cases) >= request.base_cases
        assert len({case.name for case in cases}) == len(cases)
        validating = [case for case in cases if case.phantom.number % 7 == 3]
        assert {case.hardness for case in validating} >= {0, 1} or len(validating) < 3


@pytest.mark.parametrize("wrong", [{"phantoms": 2}, {"epochs": 0}, {"allowed_regression": 1.5}, {"jobs": 0}])
def test_what_cannot_be_trained_is_refused(wrong):
    with pytest.raises(UserInputError, match="give"):
        TrainGeneralRequest(**wrong)
