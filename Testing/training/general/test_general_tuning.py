"""The general far network trained further: examples of labelled cases, finished trainings, none without examples."""

from pathlib import Path

import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.general import general_tuning
from context_propagation.training.general.general_example import load_examples, save_examples
from context_propagation.training.general.general_tuning import TuningJob, cache_general_examples, tune_general
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from nnunet_folders import write_nnunet_folder
from nnunet_layout import write_cases


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> ModelSource:
    folder = tmp_path_factory.mktemp("base") / "model"
    return ModelSource(write_nnunet_folder(folder, folds=("all",), spacing=(1.9, 1.9, 1.9)), device="cpu")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> LabelledCase:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, 1)
    return LabelledCase("case_0", (folder / "images" / "case_0_0000.nii.gz",), folder / "labels" / "case_0.nii.gz")


@pytest.fixture(scope="module")
def examples(base, case, tmp_path_factory) -> Path:
    recipe = ExampleRecipe(SessionSettings(), edits=2, seed=0, styles=1)
    return cache_general_examples(base, case, recipe, tmp_path_factory.mktemp("examples"))


def job(folder: Path, training: tuple[Path, ...], validation: tuple[Path, ...] = (), shown="edit") -> TuningJob:
    return TuningJob("fusion", folder, shown, 1, 0, training, validation)


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(general_tuning, "LEAST_STEPS", 1)


def test_a_case_s_examples_are_its_edits_and_one_of_each_further_contour(examples, base, case):
    plain, second, styled = load_examples(examples)

    _, truth = case.read(base.load())
    assert plain.truth.sum() == second.truth.sum() == truth.sum()
    assert styled.truth.sum() != truth.sum()
    assert not torch.equal(plain.far, second.far)


def test_a_finished_training_is_kept_and_leaves_weights_and_log(examples, tmp_path, few_steps):
    weights = tune_general(job(tmp_path, (examples,), (examples,)))

    assert {path.name for path in tmp_path.iterdir()} == {"fusion.csv", "fusion.safetensors"}
    assert (tmp_path / "fusion.csv").read_text().splitlines()[0] == "epoch,training_loss,validation_dsc"
    written = weights.stat().st_mtime_ns
    assert tune_general(job(tmp_path, (examples,), (examples,))) == weights
    assert weights.stat().st_mtime_ns == written


def test_the_control_is_trained_from_the_shipped_control(examples, tmp_path, few_steps, monkeypatch):
    asked = []
    real = general_tuning.load_general_far
    monkeypatch.setattr(
        general_tuning, "load_general_far", lambda weights: asked.append(weights) or real(weights=weights)
    )

    for shown in ("edit", "no edit"):
        tune_general(job(tmp_path / shown, (examples,), shown=shown))

    assert asked == ["general_far.safetensors", "no-edit-control.safetensors"]


def test_where_the_model_errs_on_no_case_there_is_nothing_to_train_on(tmp_path):
    save_examples([], tmp_path / "none.safetensors")

    with pytest.raises(UserInputError, match="give cases on which it errs"):
        tune_general(job(tmp_path / "networks", (tmp_path / "none.safetensors",)))
