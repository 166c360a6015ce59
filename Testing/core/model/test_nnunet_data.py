"""The cases of an nnU-Net model, found from its folder: nnU-Net's folders side by side, or named in the environment."""

import json
import shutil
from pathlib import Path

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.nnunet_data import find_cases_of, find_folds_file, has_folds

NAME = "Dataset007_Tumour"
DATASET = {"labels": {"background": 0, "GTV": 1}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}


class Layout:
    """The three folders, with nothing in them but what is looked at."""

    def __init__(self, root: Path, folds=("0",)):
        self.root = root
        self.model = root / "nnUNet_results" / NAME / "nnUNetTrainer__nnUNetPlans__3d_fullres"
        self.raw, self.preprocessed = root / "nnUNet_raw" / NAME, root / "nnUNet_preprocessed" / NAME
        for folder in (self.raw / "imagesTr", self.raw / "labelsTr", self.preprocessed, self.model):
            folder.mkdir(parents=True)
        for fold in folds:
            (self.model / f"fold_{fold}").mkdir()
            (self.model / f"fold_{fold}" / "checkpoint_final.pth").touch()
        for folder in (self.model, self.raw):
            (folder / "dataset.json").write_text(json.dumps(DATASET))
        (self.model / "plans.json").write_text(json.dumps({"dataset_name": NAME}))
        self.write_splits([{"train": ["a"], "val": ["b", "c"]}])

    @property
    def splits(self):
        return self.preprocessed / "splits_final.json"

    def write_splits(self, content):
        self.splits.write_text(json.dumps(content))

    def predicted(self, fold, *cases):
        """What nnU-Net leaves of the cases that a fold never saw."""
        folder = self.model / f"fold_{fold}" / "validation"
        folder.mkdir()
        for case in cases:
            (folder / f"{case}.nii.gz").touch()
        (folder / "summary.json").touch()


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "with a space")


def refusal(call, *arguments):
    with pytest.raises(UserInputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_beside_that_of_the_results_are_found(layout):
    assert find_cases_of(layout.model) == (layout.raw / "imagesTr", layout.raw / "labelsTr")
    assert find_folds_file(layout.model) == layout.splits


def test_folders_that_the_environment_names_are_found(layout, tmp_path, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        shutil.move(layout.root / name, tmp_path / "elsewhere" / name)
        monkeypatch.setenv(name, str(tmp_path / "elsewhere" / name))

    assert find_cases_of(layout.model)[0] == tmp_path / "elsewhere" / "nnUNet_raw" / NAME / "imagesTr"
    assert find_folds_file(layout.model) == tmp_path / "elsewhere" / "nnUNet_preprocessed" / NAME / "splits_final.json"


def test_what_lies_beside_the_results_comes_before_what_the_environment_names(layout, tmp_path, monkeypatch):
    other = Layout(tmp_path / "other")
    monkeypatch.setenv("nnUNet_raw", str(other.root / "nnUNet_raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(other.root / "nnUNet_preprocessed"))

    assert find_cases_of(layout.model)[0] == layout.raw / "imagesTr"
    assert find_folds_file(layout.model) == layout.splits


def test_a_model_that_was_copied_elsewhere_is_known_by_the_data_set_in_its_plans(layout, tmp_path, monkeypatch):
    copied = shutil.copytree(layout.model, tmp_path / "a" / "b" / "copied")
    monkeypatch.setenv("nnUNet_raw", str(layout.root / "nnUNet_raw"))

    assert find_cases_of(copied)[0] == layout.raw / "imagesTr"


def test_a_relative_path_will_do(layout, monkeypatch):
    monkeypatch.chdir(layout.model)
    assert find_cases_of(Path())[0] == layout.raw / "imagesTr"


def test_missing_cases_are_named_with_each_place_that_was_looked_at(layout, tmp_path, monkeypatch):
    shutil.rmtree(layout.raw)

    said = refusal(find_cases_of, layout.model)
    assert f"no '{layout.raw / 'imagesTr'}', and nnUNet_raw is not set" in said
    assert "give --images and --labels" in said

    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "elsewhere"))
    assert f"'{layout.raw / 'imagesTr'}', '{tmp_path / 'elsewhere' / NAME / 'imagesTr'}';" in refusal(
        find_cases_of, layout.model
    )


def test_images_without_labels_are_not_taken(layout):
    (layout.raw / "labelsTr").rmdir()
    assert "were not found" in refusal(find_cases_of, layout.model)


def test_a_folder_whose_place_and_plans_name_no_data_set_is_refused(layout, tmp_path):
    copied = shutil.copytree(layout.model, tmp_path / "copied")
    (copied / "plans.json").write_text("{}")

    assert "names a data set such as Dataset007_Tumour" in refusal(find_cases_of, copied)


def test_what_is_no_nnu_net_model_is_refused(tmp_path):
    assert "is no trained-model folder of nnU-Net" in refusal(find_cases_of, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("labels", {"background": 0, "heart": 1}), ("channel_names", {"0": "CT", "1": "PET"})],
)
def test_a_data_set_of_the_same_name_with_other_content_is_refused(layout, entry, value):
    (layout.raw / "dataset.json").write_text(json.dumps({**DATASET, entry: value}))
    assert f"has other {entry}" in refusal(find_cases_of, layout.model)


def test_a_model_that_saw_all_cases_is_refused(tmp_path):
    layout = Layout(tmp_path, folds=("all",))

    assert not has_folds(layout.model)
    assert "was trained on all cases in" in refusal(find_cases_of, layout.model)


def test_a_model_with_numbered_folds_and_one_of_all_cases_is_used_by_its_numbered_ones(tmp_path):
    layout = Layout(tmp_path, folds=("0", "1", "all"))

    assert has_folds(layout.model)
    assert find_cases_of(layout.model)[0] == layout.raw / "imagesTr"


def test_missing_folds_are_named_with_the_place_that_was_looked_at(tmp_path):
    layout = Layout(tmp_path, folds=("1", "0"))
    layout.splits.unlink()

    said = refusal(find_folds_file, layout.model)
    assert "folds 0, 1, each trained on other cases" in said
    assert f"no '{layout.splits}', and nnUNet_preprocessed is not set" in said
    assert "splits_final.json with --folds" in said


def test_a_split_that_was_made_anew_after_the_training_is_refused(layout):
    layout.predicted("0", "b", "c")
    assert find_folds_file(layout.model) == layout.splits

    layout.write_splits([{"train": ["b"], "val": ["a", "c"]}])

    said = refusal(find_folds_file, layout.model)
    assert "it trains fold 0 on 'b'" in said
    assert "is not the one that the model was trained with" in said


def test_a_validation_that_was_interrupted_says_nothing_against_the_split(layout):
    layout.predicted("0", "c")
    assert find_folds_file(layout.model) == layout.splits


def test_a_split_that_cannot_be_read_is_left_to_who_reads_it(layout):
    layout.predicted("0", "b")
    layout.splits.write_text("[{")
    assert find_folds_file(layout.model) == layout.splits
