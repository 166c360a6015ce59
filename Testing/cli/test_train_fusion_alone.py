"""`train-fusion --model FOLDER` and nothing else: cases, folds and the bundle's place come from the model's folder."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from context_propagation.core.bundle.bundle import load_bundle
from context_propagation.evaluation import validated_bundle
from nnunet_layout import DATASET, write_layout

QUICK = ("--epochs", 1, "--edits-per-case", 1, "--jobs", 1, "--device", "cpu")


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stopped(monkeypatch):
    """Trainings end before their first edit."""

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(validated_bundle, "tuned_rows", interrupted)


def bundle_of(model: Path) -> Path:
    return model.with_name(f"{model.name}-bundle")


def test_the_command_alone_says_what_it_found_and_works_beside_the_model(run, stopped, tmp_path):
    model = write_layout(tmp_path / "with a space", folds=(0, 1), cases=4)
    before = sorted(model.rglob("*"))

    outcome = run("train-fusion", "--model", model)

    raw = tmp_path / "with a space" / "nnUNet_raw" / DATASET
    splits = tmp_path / "with a space" / "nnUNet_preprocessed" / DATASET / "splits_final.json"
    assert outcome.code == 130
    assert f"4 cases in '{raw / 'imagesTr'}' and '{raw / 'labelsTr'}'" in outcome.err
    assert f"by '{splits}' fold 0 never saw 3, fold 1 never saw 3" in outcome.err
    assert sorted(model.rglob("*")) == before
    assert {path.name for path in model.parent.iterdir()} == {model.name, f"{model.name}-bundle.training"}


def test_a_named_label_is_in_the_bundle_s_name(run, stopped, tmp_path):
    model = write_layout(tmp_path)

    run("train-fusion", "--model", model, "--label", "GTV")

    assert model.with_name(f"{model.name}-GTV-bundle.training").is_dir()


def test_folds_that_are_named_are_taken_and_the_cases_found(run, stopped, tmp_path):
    model = write_layout(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps([{"train": ["case_0", "case_1"], "val": ["case_2", "case_3"]}]))

    outcome = run("train-fusion", "--model", model, "--folds", tmp_path / "mine.json")

    assert f"by '{tmp_path / 'mine.json'}' fold 0 never saw 2" in outcome.err


def test_cases_that_are_named_for_a_model_without_folds_are_said_to_be_taken_as_unseen(run, stopped, tmp_path):
    model = write_layout(tmp_path, folds=("all",))
    raw = tmp_path / "nnUNet_raw" / DATASET

    outcome = run("train-fusion", "--model", model, "--images", raw / "imagesTr", "--labels", raw / "labelsTr")

    assert outcome.code == 130
    assert "taken as never seen by the model" in outcome.err


def test_a_model_that_saw_all_cases_is_refused(refused, tmp_path):
    model = write_layout(tmp_path, folds=("all",))

    assert "was trained on all cases in" in refused("train-fusion", "--model", model)


def test_missing_raw_data_are_named_with_the_options_to_give(refused, tmp_path):
    model = write_layout(tmp_path)
    shutil.rmtree(tmp_path / "nnUNet_raw")

    said = refused("train-fusion", "--model", model)
    assert str(tmp_path / "nnUNet_raw" / DATASET / "imagesTr") in said
    assert "--images and --labels" in said


def test_missing_folds_are_named_with_the_option_to_give(refused, tmp_path):
    model = write_layout(tmp_path, splits=0)

    said = refused("train-fusion", "--model", model)
    assert str(tmp_path / "nnUNet_preprocessed" / DATASET / "splits_final.json") in said
    assert "--folds" in said


def test_a_split_without_one_of_the_model_s_folds_is_refused(refused, tmp_path):
    model = write_layout(tmp_path, folds=(0, 1), splits=1)

    assert "says nothing of the model's fold 1; it has 0" in refused("train-fusion", "--model", model)


def test_too_few_cases_are_refused(refused, tmp_path):
    model = write_layout(tmp_path, cases=2)

    assert "1 case(s) to train fold 0 on" in refused("train-fusion", "--model", model)


@pytest.mark.parametrize(("given", "missing"), [("--images", "--labels"), ("--labels", "--images")])
def test_one_of_images_and_labels_is_refused(refused, tmp_path, given, missing):
    model = write_layout(tmp_path)

    assert f"give {missing} too" in refused("train-fusion", "--model", model, given, tmp_path)


def test_a_bundle_that_is_there_is_not_replaced_unless_it_is_named(run, refused, stopped, tmp_path):
    model = write_layout(tmp_path)
    bundle_of(model).mkdir()
    (bundle_of(model) / "bundle.json").write_text('{"format": "context-propagation bundle 1"}')

    assert f"'{bundle_of(model)}' is there already; give --output" in refused("train-fusion", "--model", model)
    assert run("train-fusion", "--model", model, "--output", bundle_of(model)).code == 130


@pytest.mark.long
def test_the_command_alone_trains_what_it_trains_with_all_named(run, tmp_path):
    model = write_layout(tmp_path)
    raw, named = tmp_path / "nnUNet_raw" / DATASET, tmp_path / "named"
    folds = tmp_path / "nnUNet_preprocessed" / DATASET / "splits_final.json"

    alone = run("train-fusion", "--model", model, *QUICK)
    words = ("--images", raw / "imagesTr", "--labels", raw / "labelsTr", "--folds", folds, "--output", named)
    assert run("train-fusion", "--model", model, *words, *QUICK).code == alone.code == 0

    assert f"{bundle_of(model)}: trained on 2 cases, validated on 1; DSC of far slices" in alone.out
    assert "by the no-edit control: the edit itself gains" in alone.out
    (_, once), (_, again) = load_bundle(bundle_of(model), "cpu"), load_bundle(named, "cpu")
    for ours, theirs in zip(once.networks[0].parameters(), again.networks[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)
