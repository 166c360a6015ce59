"""`train-fusion`: a frozen model and labelled cases become a bundle; an interrupted training goes on."""

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from context_propagation.core.bundle.bundle import load_bundle
from context_propagation.core.propagation.attention_fusion import AttentionFusion
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation import kept_lines
from context_propagation.evaluation import validated_bundle as train_fusion
from context_propagation.evaluation.results import CaseRow
from context_propagation.training.fusion.fusion_example import load_example
from context_propagation.training.fusion.fusion_jobs import cache_examples, examples_files
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.places import are_there
from nnunet_folders import write_nnunet_folder
from nnunet_layout import write_cases


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, 3)
    return folder


@pytest.fixture(scope="module")
def unseen_model(tmp_path_factory) -> Path:
    return write_nnunet_folder(tmp_path_factory.mktemp("base") / "model", folds=("all",), spacing=(1.9, 1.9, 1.9))


def arguments(model: Path, data: Path, output: Path, *more: object) -> list[str]:
    words = ["train-fusion", "--model", model, "--images", data / "images", "--labels", data / "labels"]
    words += ["--output", output, "--epochs", 2, "--edits-per-case", 1, "--jobs", 1, "--device", "cpu"]
    words += ["--start", "fresh", *more]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def trained(unseen_model, data, tmp_path_factory) -> Path:
    from context_propagation.cli.main import main

    output = tmp_path_factory.mktemp("out") / "bundle"
    assert main(arguments(unseen_model, data, output)) == 0
    return output


def test_the_bundle_holds_a_trained_network_and_leaves_no_cache_behind(trained, unseen_model):
    _, fusion = load_bundle(trained, device="cpu")

    (network,) = fusion.networks
    assert (network.output_norm.weight != 1).any()  # ones before training
    assert fusion.level == 2
    assert not (trained.parent / "bundle.training").exists()
    assert {path.name for path in trained.parent.iterdir()} == {"bundle"}


def test_the_provenance_names_counts_seed_and_figures_with_the_control(trained):
    made = json.loads((trained / "bundle.json").read_text())["provenance"]

    assert (made["training_cases"], made["validation_cases"]) == ([2], [1])
    assert (made["settings"]["seed"], made["harm_weight"]) == (0, 4.0)
    assert "the cases that chose the epoch and the far thresholds" in made["validation"]["measured on"]
    rows = {name.split(", ")[2] for name in made["validation"]["dsc"]}
    assert {"baseline", "paste", "update", "fusion", "no-edit control"} <= rows


@pytest.mark.long
def test_attention_contour_styles_and_allowed_regression_are_taken_and_recorded(run, unseen_model, data, tmp_path):
    options = ("--variant", "attention", "--contour-styles", 1, "--augmented-copies", 0, "--allowed-regression", 0.1)

    assert run(*arguments(unseen_model, data, tmp_path / "bundle", *options)).code == 0

    _, fusion = load_bundle(tmp_path / "bundle", device="cpu")
    assert isinstance(fusion.networks[0], AttentionFusion)
    settings = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["provenance"]["settings"]
    found = {name: settings[name] for name in ("fusion", "contour_styles", "augmented_copies", "allowed_regression")}
    assert found == {"fusion": "attention", "contour_styles": 1, "augmented_copies": 0, "allowed_regression": 0.1}


def test_each_contour_style_is_an_example_with_one_edit_and_a_truth_of_its_own(unseen_model, data, tmp_path):
    case = LabelledCase("case_0", (data / "images" / "case_0_0000.nii.gz",), data / "labels" / "case_0.nii.gz")
    recipe = ExampleRecipe(SessionSettings(), edits=2, seed=0, styles=3)

    paths = [path for _, path in cache_examples(ModelSource(unseen_model, device="cpu"), case, recipe, tmp_path)]

    plain, *styled = [load_example(path) for path in paths]
    assert len(plain) == 2
    assert [len(example) for example in styled] == [1, 1, 1]
    assert len({int(example.truth.sum()) for example in (plain, *styled)}) > 2  # close contours may be of equal voxels
    assert all(torch.equal(example.inputs.f, plain.inputs.f) for example in styled)


def test_examples_of_which_one_is_gone_are_made_again(unseen_model, data, tmp_path):
    case = LabelledCase("case_0", (data / "images" / "case_0_0000.nii.gz",), data / "labels" / "case_0.nii.gz")
    made = partial(
        cache_examples, ModelSource(unseen_model, device="cpu"), case, ExampleRecipe(SessionSettings(), 1, 0), tmp_path
    )
    ((_, path),) = made()
    content = path.read_bytes()
    path.unlink()

    assert not are_there(examples_files(case, tmp_path))
    assert made() == [(0, path)]
    assert path.read_bytes() == content
    assert are_there(examples_files(case, tmp_path))


def test_a_case_on_which_the_model_predicts_nothing_is_learnt_from_around_its_truth(data, tmp_path):
    model = write_nnunet_folder(tmp_path / "model", spacing=(1.9, 1.9, 1.9))
    (file,) = model.glob("fold_*/checkpoint_final.pth")
    checkpoint = torch.load(file, weights_only=False)
    checkpoint["network_weights"]["decoder.seg_layers.1.bias"][0] += 20  # background wins everywhere
    torch.save(checkpoint, file)
    base = ModelSource(model, device="cpu")
    case = LabelledCase("case_0", (data / "images" / "case_0_0000.nii.gz",), data / "labels" / "case_0.nii.gz")
    recipe = ExampleRecipe(SessionSettings(), edits=2, seed=0)
    volume, truth = case.read(base.load())
    assert not base.load().predict(base.load().prepare(volume)).any()

    ((_, path),) = cache_examples(base, case, recipe, tmp_path)

    example = load_example(path)
    assert len(example) == 2
    assert example.truth.sum() == truth.sum()
    assert all(not torch.equal(example.inputs.f[0], moved) for moved in example.inputs.f_updated)


def test_log_and_picture_of_both_trainings_are_kept(trained):
    lines = (trained / "training" / "fusion_all.csv").read_text().splitlines()

    assert lines[0] == "epoch,training_loss,validation_loss,validation_dsc"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]
    assert (trained / "training" / "no-edit-control_all.csv").is_file()
    assert (trained / "training" / "training.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.long
def test_an_interrupted_training_ends_with_the_same_weights(run, trained, unseen_model, data, tmp_path, monkeypatch):
    real = train_fusion.choose_far_thresholds

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_fusion, "choose_far_thresholds", interrupted)
    outcome = run(*arguments(unseen_model, data, tmp_path / "bundle"))
    assert (outcome.code, (tmp_path / "bundle").exists()) == (130, False)
    assert "what is finished is kept" in outcome.err

    monkeypatch.setattr(train_fusion, "choose_far_thresholds", real)
    assert run(*arguments(unseen_model, data, tmp_path / "bundle")).code == 0
    ((_, again), (_, once)) = load_bundle(tmp_path / "bundle", "cpu"), load_bundle(trained, "cpu")
    for ours, theirs in zip(again.networks[0].parameters(), once.networks[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.long
def test_a_bundle_is_replaced_by_the_next_training(run, trained, unseen_model, data, tmp_path):
    copied = shutil.copytree(trained, tmp_path / "bundle")
    before = json.loads((copied / "bundle.json").read_text())["fusion_sha256"]

    assert run(*arguments(unseen_model, data, copied, "--seed", 1, "--epochs", 1)).code == 0

    assert json.loads((copied / "bundle.json").read_text())["fusion_sha256"] != before
    assert len((copied / "training" / "fusion_all.csv").read_text().splitlines()) == 2


def test_a_training_does_not_go_on_with_changed_labels(run, unseen_model, data, tmp_path, monkeypatch):
    copied = shutil.copytree(data, tmp_path / "data")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_fusion, "fresh_rows", interrupted)
    assert run(*arguments(unseen_model, copied, tmp_path / "bundle")).code == 130
    shutil.copyfile(copied / "labels" / "case_0.nii.gz", copied / "labels" / "case_1.nii.gz")

    outcome = run(*arguments(unseen_model, copied, tmp_path / "bundle"))

    assert outcome.code == 2
    assert "its images, labels or folds have changed" in outcome.err


def test_a_training_does_not_go_on_with_a_changed_folds_file(run, data, tmp_path, monkeypatch):
    model = write_nnunet_folder(tmp_path / "model", folds=(0,))
    splits = [{"train": [], "val": [f"case_{number}" for number in range(3)]}]
    command = arguments(model, data, tmp_path / "bundle", "--folds", tmp_path / "splits_final.json")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_fusion, "fresh_rows", interrupted)
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    assert [run(*command).code, run(*command).code] == [130, 130]
    splits[0]["val"].pop()
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))

    outcome = run(*command)

    assert outcome.code == 2
    assert "its images, labels or folds have changed" in outcome.err


def test_a_validation_case_that_failed_is_named_with_its_reason(run, unseen_model, data, tmp_path, monkeypatch):
    def failed(job):
        row = CaseRow("all", job.case.name, "worst", 2, 1, "fusion", "whole", error="OSError: no\nspace")
        return [row, replace(row, pick="largest")]

    monkeypatch.setattr(train_fusion, "fresh_rows", lambda *arguments: [])
    monkeypatch.setattr(train_fusion, "choose_far_thresholds", lambda *arguments: FarThresholds())
    monkeypatch.setattr(kept_lines, "evaluate_case", failed)

    outcome = run(*arguments(unseen_model, data, tmp_path / "bundle"))

    assert outcome.code == 2
    assert "1 of 1 validation case(s) failed, first 'case_" in outcome.err
    assert "OSError: no space" in outcome.err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("module", "extra"), [(module, extra) for extra, modules in train_fusion.NEEDED.items() for module in modules]
)
def test_a_missing_package_is_named_before_any_work(run, unseen_model, data, tmp_path, monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)

    outcome = run(*arguments(unseen_model, data, tmp_path / "bundle"))

    assert outcome.code == 2
    assert f"'{module.split('.')[0]}' is not installed" in outcome.err
    assert f"[{extra}]" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", 0),
        ("--edits-per-case", 0),
        ("--augmented-copies", -1),
        ("--contour-styles", -1),
        ("--allowed-regression", 1.5),
        ("--averaging", 1),
        ("--seed", -1),
        ("--jobs", 0),
        ("--width", 0),
        ("--width", "inf"),
    ],
)
def test_a_number_out_of_range_is_named_before_any_work(run, unseen_model, data, tmp_path, option, value):
    outcome = run(*arguments(unseen_model, data, tmp_path / "bundle", option, value))

    assert outcome.code == 2
    assert option in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_the_leftovers_of_another_training_are_not_taken_for_this_one(run, unseen_model, data, tmp_path):
    (tmp_path / "bundle.training").mkdir()
    (tmp_path / "bundle.training" / "training.sha256").write_text("of another one")

    outcome = run(*arguments(unseen_model, data, tmp_path / "bundle"))

    assert outcome.code == 2
    assert "belongs to another training" in outcome.err


def test_a_model_with_folds_asks_for_the_folds_file(run, data, tmp_path):
    model = write_nnunet_folder(tmp_path / "model", folds=(0, 1))

    outcome = run(*arguments(model, data, tmp_path / "bundle"))

    assert outcome.code == 2
    assert "splits_final.json with --folds" in outcome.err


@pytest.mark.long
def test_each_fold_learns_from_the_cases_that_it_never_saw(run, tmp_path):
    write_cases(tmp_path / "data", 4)
    model = write_nnunet_folder(tmp_path / "model", folds=(0, 1))
    names = [f"case_{number}" for number in range(4)]
    splits = [{"train": names[2:], "val": names[:2]}, {"train": names[:2], "val": names[2:]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))

    more = ("--folds", tmp_path / "splits_final.json", "--epochs", 1)
    command = arguments(model, tmp_path / "data", tmp_path / "bundle", *more)
    assert run(*command).code == 0

    _, fusion = load_bundle(tmp_path / "bundle", "cpu")
    made = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["provenance"]
    assert len(fusion.networks) == 2
    assert (made["training_cases"], made["validation_cases"]) == ([1, 1], [1, 1])


def test_a_label_without_an_image_is_named_before_any_work(run, unseen_model, data, tmp_path):
    copied = shutil.copytree(data, tmp_path / "data")
    (copied / "images" / "case_2_0000.nii.gz").unlink()

    outcome = run(*arguments(unseen_model, copied, tmp_path / "bundle"))

    assert outcome.code == 2
    assert "has no image 'case_2'" in outcome.err
    assert not (tmp_path / "bundle.training").exists()


def test_a_folder_that_is_no_bundle_is_not_replaced(run, unseen_model, data, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")

    outcome = run(*arguments(unseen_model, data, tmp_path / "precious"))

    assert outcome.code == 2
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "mine"
