"""Which images and labels belong together, and which of them a fold of the base model has never seen."""

import json

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.training.labelled_cases import find_cases, unseen_cases


@pytest.fixture
def folders(tmp_path):
    """Make empty files; pairing looks at names alone."""

    def make(images, labels):
        for folder, names in (("images", images), ("labels", labels)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        return tmp_path / "images", tmp_path / "labels"

    return make


def named(cases):
    return [(case.name, [path.name for path in case.images], case.label.name) for case in cases]


def test_a_label_is_paired_with_the_image_of_its_name(folders):
    found = find_cases(*folders(["b.nii.gz", "a.nii.gz"], ["a.nii.gz", "b.nii.gz"]), channels=1)
    assert named(found) == [("a", ["a.nii.gz"], "a.nii.gz"), ("b", ["b.nii.gz"], "b.nii.gz")]


def test_channels_are_paired_in_nnu_net_s_order(folders):
    images = ["a_0001.nii.gz", "a_0000.nii.gz", "a_0002.nii.gz"]
    found = find_cases(*folders(images, ["a.nii.gz"]), channels=2)
    assert named(found) == [("a", ["a_0000.nii.gz", "a_0001.nii.gz"], "a.nii.gz")]


def test_one_channel_named_as_nnu_net_does_comes_before_the_bare_name(folders):
    found = find_cases(*folders(["a.nii.gz", "a_0000.nii.gz"], ["a.nii.gz"]), channels=1)
    assert named(found) == [("a", ["a_0000.nii.gz"], "a.nii.gz")]


def test_images_and_labels_may_be_files_of_different_formats(folders):
    images, labels = folders(["a.nrrd", "b_0000.mha", "c.nii"], ["a.nii.gz", "b.nrrd", "c.mha"])
    assert [case[:2] for case in named(find_cases(images, labels, 1))] == [
        ("a", ["a.nrrd"]), ("b", ["b_0000.mha"]), ("c", ["c.nii"]),
    ]  # fmt: skip


def test_images_without_a_label_and_other_files_are_left_out(folders):
    others = ["b.nii.gz", "notes.txt", "._a.nii.gz"]
    found = find_cases(*folders(["a.nii.gz", *others], ["a.nii.gz", "dataset.json", "._a.nii.gz"]), channels=1)
    assert [case.name for case in found] == ["a"]


def test_a_name_may_have_dots(folders):
    assert find_cases(*folders(["p.1.nii.gz"], ["p.1.nii.gz"]), channels=1)[0].name == "p.1"


def test_the_cases_are_told_nothing(folders):
    assert find_cases(*folders(["a.nii.gz"], ["a.nii.gz"]), channels=1)[0].hidden_truth == ()


@pytest.mark.parametrize(
    ("images", "channels", "missing"),
    [(["b.nii.gz"], 1, "a"), (["a_0000.nii.gz"], 2, "a_0001"), (["a.nii.gz"], 2, "a_0000"), (["a_0001.nrrd"], 1, "a")],
)
def test_a_label_without_all_its_channels_is_refused_by_name(folders, images, channels, missing):
    with pytest.raises(UserInputError, match=f"label '.*a.nii.gz' has no image '{missing}' in '.*images'; add it"):
        find_cases(*folders(images, ["a.nii.gz"]), channels)


def test_a_missing_folder_is_refused_with_its_option(folders):
    images, labels = folders(["a.nii.gz"], ["a.nii.gz"])
    with pytest.raises(UserInputError, match="--images '.*gone' is not a folder"):
        find_cases(images.parent / "gone", labels, 1)
    with pytest.raises(UserInputError, match="--labels '.*gone' is not a folder"):
        find_cases(images, labels.parent / "gone", 1)
    with pytest.raises(UserInputError, match="--labels '.*a.nii.gz' is not a folder"):
        find_cases(images, labels / "a.nii.gz", 1)


@pytest.mark.parametrize(
    ("images", "labels", "option"), [([], ["a.nii"], "--images"), (["a.nii"], ["a.txt"], "--labels")]
)
def test_a_folder_without_images_is_refused_with_its_option(folders, images, labels, option):
    with pytest.raises(UserInputError, match=f"{option} '.*' holds no .nii.gz, .nii, .nrrd, .mha file"):
        find_cases(*folders(images, labels), channels=1)


# ---- what a fold has not seen


@pytest.fixture
def cases(folders):
    names = [f"{name}.nii.gz" for name in "abcd"]
    return find_cases(*folders(names, names), channels=1)


@pytest.fixture
def folds_file(tmp_path):
    def write(content):
        path = tmp_path / "folds.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


SPLITS = [{"train": ["c", "d"], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c", "d"]}]


def names(per_fold):
    return ["".join(case.name for case in cases) for cases in per_fold]


def test_a_fold_has_not_seen_its_validation_cases_in_nnu_net_s_splits(cases, folds_file):
    assert names(unseen_cases(cases, ["0", "1"], folds_file(SPLITS))) == ["ab", "cd"]


def test_folds_come_in_the_model_s_order(cases, folds_file):
    assert names(unseen_cases(cases, ["1", "0"], folds_file(SPLITS))) == ["cd", "ab"]
    assert names(unseen_cases(cases, ["1"], folds_file(SPLITS))) == ["cd"]


@pytest.mark.parametrize("of_b", [1, "1", "fold_1"])
def test_the_data_page_s_folds_name_the_fold_that_holds_a_case_out(cases, folds_file, of_b):
    file = folds_file({"folds": {"a": 0, "b": of_b, "c": 0, "d": 2}})
    assert names(unseen_cases(cases, ["0", "1"], file)) == ["ac", "b"]


def test_cases_that_the_file_does_not_know_are_left_out(cases, folds_file):
    assert names(unseen_cases(cases, ["0"], folds_file({"folds": {"a": 0, "elsewhere": 0}}))) == ["a"]


def test_a_model_trained_on_all_of_something_else_has_seen_no_case(cases):
    assert names(unseen_cases(cases, ["all"], None)) == ["abcd"]


@pytest.mark.parametrize("folds", [["0"], ["0", "1"], ["all", "0"]])
def test_a_model_with_folds_is_refused_without_the_file_of_its_folds(cases, folds):
    with pytest.raises(UserInputError, match=f"has folds {', '.join(folds)}, .*splits_final.json with --folds"):
        unseen_cases(cases, folds, None)


def test_a_fold_that_the_file_does_not_have_is_refused(cases, folds_file):
    with pytest.raises(UserInputError, match="says nothing of the model's fold 4; it has 0, 1"):
        unseen_cases(cases, ["0", "4"], folds_file(SPLITS))


def test_a_fold_that_has_seen_every_case_is_refused(cases, folds_file):
    with pytest.raises(UserInputError, match="None of the cases is held out of fold 1"):
        unseen_cases(cases, ["0", "1"], folds_file([{"val": ["a"]}, {"val": ["elsewhere"]}]))


@pytest.mark.parametrize(
    "content", ["{", "3", "null", '"a"', "{}", '{"folds": 3}', '{"folds": ["a"]}', '[{"train": ["a"]}]', '["a"]', "[3]"]
)
def test_a_file_of_something_else_is_refused(cases, folds_file, content):
    with pytest.raises(UserInputError, match="--folds '.*folds.json' cannot be read .*; give nnU-Net's splits_final"):
        unseen_cases(cases, ["0"], folds_file(content))


def test_a_missing_file_is_refused(cases, tmp_path):
    with pytest.raises(UserInputError, match="--folds '.*gone.json' cannot be read"):
        unseen_cases(cases, ["0"], tmp_path / "gone.json")


def test_two_files_of_one_case_are_both_named(folders):
    with pytest.raises(UserInputError, match=r"a\.nrrd' and 'a\.nii\.gz' are one case"):
        find_cases(*folders(["a.nii.gz", "a.nrrd"], ["a.nii.gz"]), channels=1)
