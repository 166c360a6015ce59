"""The data of an evaluation: which case serves what, and the files of each variant."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.data_sets import DATA_VARIABLE, VariantData, find_data, read_folds
from context_propagation.evaluation.fold_cases import cases_of_fold
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.variants import STYLES, drawn_in_style, shifted_image, style_of

SHAPE = (8, 10, 9)
SPACING, ORIGIN = (1.0, 1.25, 1.5), (10.0, -20.0, 30.0)
SMALL = EvaluationPlan(
    "small", "cases", base_cases=3, fusion_cases=4, validation_cases=2, threshold_cases=2, test_cases=3
)


def case(number):
    return f"case_{number:03d}"


def write_folds(folder, folds):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(exist_ok=True, parents=True)
    (folder / "folds.json").write_text(folds if isinstance(folds, str) else json.dumps({"folds": folds}))
    return folder


@pytest.fixture
def twenty(tmp_path):
    """Cases 0 to 19, every fifth one in the same fold."""
    return write_folds(tmp_path / "cases", {case(number): number % 5 for number in range(20)})


# ---- where the data are


def test_data_lie_beside_the_protocol(twenty, tmp_path, monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert find_data(SMALL, tmp_path / "mine.toml") == twenty


def test_data_lie_where_the_variable_points_whatever_the_protocol_s_folder_is(tmp_path, monkeypatch):
    elsewhere = write_folds(tmp_path / "data" / "cases", {})
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    assert find_data(replace(SMALL, data="../shared/cases"), tmp_path / "protocols" / "mine.toml") == elsewhere


@pytest.mark.parametrize("by_variable", [False, True])
def test_missing_data_are_refused_with_where_they_were_sought(tmp_path, monkeypatch, by_variable):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    if by_variable:
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    sought = tmp_path / "data" / "cases" if by_variable else tmp_path / "cases"
    with pytest.raises(UserInputError, match=f"No data in '{sought}'.*set {DATA_VARIABLE}"):
        find_data(SMALL, tmp_path / "mine.toml")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_data_folder_without_images_or_labels_is_refused(twenty, tmp_path, monkeypatch, kind):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    (twenty / kind).rmdir()
    with pytest.raises(UserInputError, match="it must hold images/, labels/ and folds.json"):
        find_data(SMALL, tmp_path / "mine.toml")


# ---- which case serves what


def test_every_observer_s_style_validates_and_is_tested(tmp_path):
    folder = write_folds(tmp_path / "cases", {case(number): number % 2 for number in range(100)})
    found = cases_of_fold(
        read_folds(folder), replace(SMALL, variant="observer style", validation_cases=6, test_cases=9), 0
    )
    for names in (found.validation, found.test):
        counts = [sum(style_of(name) == style for name in names) for style in STYLES]
        assert counts == [len(names) // 3] * 3


@pytest.mark.parametrize("fold", range(5))
@pytest.mark.parametrize("seed", range(4))
def test_no_case_is_in_two_sets_and_only_the_fold_s_own_are_tested(twenty, fold, seed):
    found = cases_of_fold(read_folds(twenty), replace(SMALL, seed=seed), fold)
    sets = [found.base, found.fusion, found.validation, found.thresholds, found.test]
    assert [len(names) for names in sets] == [3, 4, 2, 2, 3]
    assert len(set().union(*sets)) == 14
    own = {case(number) for number in range(fold, 20, 5)}
    assert set(found.test) <= own
    assert not own & {*found.base, *found.fusion, *found.validation, *found.thresholds}


def test_base_cases_are_spread_over_the_other_folds_in_name_order(twenty):
    """Outside fold 0 lie 16 cases; 3 of them: numbers 0, 5 and 10 of 1 2 3 4 6 7 8 9 11 12 13 14 16 17 18 19."""
    assert cases_of_fold(read_folds(twenty), SMALL, 0).base == (case(1), case(7), case(13))


def test_test_cases_are_the_fold_s_first_ones_in_name_order(twenty):
    assert cases_of_fold(read_folds(twenty), SMALL, 2).test == (case(2), case(7), case(12))
    assert len(cases_of_fold(read_folds(twenty), replace(SMALL, test_cases=50), 2).test) == 4


def test_the_seed_draws_the_fusion_network_s_cases_and_no_others(twenty):
    one, again, other = (cases_of_fold(read_folds(twenty), replace(SMALL, seed=seed), 0) for seed in (0, 0, 1))
    assert one == again
    assert one.fusion != other.fusion
    assert (one.base, one.test) == (other.base, other.test)


def test_all_cases_can_be_used_and_one_more_is_refused_by_both_numbers(twenty):
    found = cases_of_fold(read_folds(twenty), replace(SMALL, fusion_cases=9), 0)
    assert len({*found.base, *found.fusion, *found.validation, *found.thresholds}) == 16
    with pytest.raises(UserInputError, match="asks for 17 training cases and 16 lie outside fold 0; ask for fewer"):
        cases_of_fold(read_folds(twenty), replace(SMALL, fusion_cases=10), 0)


def test_a_fold_without_cases_is_refused(twenty):
    with pytest.raises(UserInputError, match="Fold 5 has no cases in the data of 'small'; correct test_folds"):
        cases_of_fold(read_folds(twenty), SMALL, 5)


@pytest.mark.parametrize("content", ["{", "3", "[]", "{}", '{"folds": 3}', '{"folds": ["case_001", "case_002"]}'])
def test_folds_that_cannot_be_read_are_refused(tmp_path, content):
    folder = write_folds(tmp_path / "cases", content)
    with pytest.raises(UserInputError, match="folds.json' cannot be read"):
        cases_of_fold(read_folds(folder), SMALL, 0)


# ---- the variant's files


def image_array(number):
    return np.random.default_rng(number).normal(300, 50, SHAPE).astype(np.float32)


def label_array():
    """Anterior (1) and posterior (2) half of a box."""
    label = np.zeros(SHAPE, np.uint8)
    label[2:6, 2:8, 2:5] = 1
    label[2:6, 2:8, 5:7] = 2
    return label


def write(array, path):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    path.parent.mkdir(exist_ok=True, parents=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def variant(tmp_path):
    for number in range(12):
        write(image_array(number), tmp_path / "cases" / "images" / f"{case(number)}.nii.gz")
        write(label_array(), tmp_path / "cases" / "labels" / f"{case(number)}.nii.gz")
    return lambda name: VariantData(tmp_path / "cases", tmp_path / "made", replace(SMALL, variant=name))


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def image_of(found):
    (path,) = found.images
    return read(path)


@pytest.mark.parametrize("name", ["clean", "observer style"])
def test_images_are_as_they_were_in_training_and_test(variant, name):
    data = variant(name)
    assert np.array_equal(image_of(data.training_case(case(1))), image_array(1))
    assert np.array_equal(image_of(data.test_case(case(1))), image_array(1))


def test_only_tests_see_shifted_images(variant):
    data = variant("shifted")
    assert np.array_equal(image_of(data.training_case(case(1))), image_array(1))
    shifted = image_of(data.test_case(case(1)))
    assert np.allclose(shifted, shifted_image(image_array(1), case(1)), atol=1e-6)
    assert not np.allclose(shifted, (image_array(1) - image_array(1).mean()) / image_array(1).std(), atol=0.1)
    assert np.array_equal(image_of(data.training_case(case(1))), image_array(1))  # still, after the test


@pytest.mark.parametrize("name", ["clean", "shifted"])
def test_all_labels_together_are_the_target_and_nobody_is_told_anything(variant, name):
    found = variant(name).training_case(case(3))
    assert np.array_equal(read(found.label), label_array() > 0)
    assert found.hidden_truth == ()
    assert not variant(name).has_styles


def test_each_observer_draws_in_their_style_and_the_oracle_is_told_which(variant):
    data, seen = variant("observer style"), set()
    for number in range(12):
        style = style_of(case(number))
        for found in (data.training_case(case(number)), data.test_case(case(number))):
            assert np.array_equal(read(found.label), drawn_in_style(label_array() > 0, style))
            assert dict(zip(STYLES, found.hidden_truth, strict=True)) == {s: float(s == style) for s in STYLES}
        seen.add(style)
    assert seen == set(STYLES)
    assert data.has_styles


@pytest.mark.parametrize("name", ["shifted", "observer style"])
def test_what_is_made_lies_where_the_source_lies(variant, name):
    found = variant(name).test_case(case(1))
    for path in (*found.images, found.label):
        image = sitk.ReadImage(str(path))
        assert image.GetSpacing() == pytest.approx(SPACING)
        assert image.GetOrigin() == pytest.approx(ORIGIN)
        assert image.GetSize() == SHAPE[::-1]


def test_files_are_made_once_and_no_partial_ones_stay(variant):
    data = variant("shifted")
    first = data.test_case(case(1))
    content = first.images[0].read_bytes()
    first.images[0].write_bytes(b"kept")
    assert data.test_case(case(1)) == first
    assert first.images[0].read_bytes() == b"kept" != content
    assert not list(data.work.rglob("*partial*"))


def test_the_source_stays_as_it_was(variant, tmp_path):
    variant("shifted").test_case(case(1))
    variant("observer style").test_case(case(2))
    assert np.array_equal(read(tmp_path / "cases" / "images" / f"{case(1)}.nii.gz"), image_array(1))
    assert np.array_equal(read(tmp_path / "cases" / "labels" / f"{case(2)}.nii.gz"), label_array())


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_case_without_its_file_is_refused_by_path(variant, tmp_path, kind):
    (tmp_path / "cases" / kind / f"{case(1)}.nii.gz").unlink()
    with pytest.raises(UserInputError, match=f"{kind}/case_001.nii.gz' is missing; check the data folder"):
        variant("clean").training_case(case(1))
