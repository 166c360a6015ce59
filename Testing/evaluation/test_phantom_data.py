"""An evaluation's phantoms: folds, what an oracle is told, and when trainings may be shared."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from context_propagation.evaluation import phantom_data
from context_propagation.evaluation.data_sets import evaluation_data, training_key
from context_propagation.evaluation.fold_cases import cases_of_fold
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.training.phantom_cases import phantom_case

SMALL = EvaluationPlan(
    "small", phantom="oesophagus", model="PSNN", phantom_cases=20, test_folds=(0,), base_cases=3, fusion_cases=4,
    validation_cases=2, threshold_cases=2, test_cases=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Large voxels, so that a case is quickly made."""
    real = phantom_data._settings
    monkeypatch.setattr(phantom_data, "_settings", lambda *given: replace(real(*given), spacing_ijk_mm=(5.0, 5.0, 4.0)))


def test_every_fifth_phantom_is_in_the_same_fold(tmp_path):
    data = evaluation_data(SMALL, tmp_path / "small.toml", tmp_path / "work")
    assert data.folds == {f"oesophagus_{number:03d}": number % 5 for number in range(20)}
    assert cases_of_fold(data.folds, SMALL, 1).test == ("oesophagus_001", "oesophagus_006", "oesophagus_011")


def test_a_case_has_ct_pet_label_and_its_style(tmp_path):
    data = evaluation_data(SMALL, tmp_path / "small.toml", tmp_path / "work")
    case = data.test_case("oesophagus_007")
    assert [path.name for path in case.images] == ["oesophagus_007_0000.nii.gz", "oesophagus_007_0001.nii.gz"]
    assert all(path.is_file() for path in (*case.images, case.label))
    settings = PhantomSettings("oesophagus", number=7, spacing_ijk_mm=(5.0, 5.0, 4.0))
    assert case.hidden_truth == make_phantom(settings).hidden_truth
    assert data.has_styles
    assert data.task.channel_names == ("CT", "PET")


def test_a_case_is_generated_once(tmp_path):
    data = evaluation_data(SMALL, tmp_path / "small.toml", tmp_path / "work")
    case = data.training_case("oesophagus_007")
    case.label.write_bytes(b"kept")
    data.make(["oesophagus_007"], 1)
    assert case.label.read_bytes() == b"kept"


def test_another_case_of_the_same_name_is_replaced(tmp_path):
    settings = PhantomSettings("nasopharynx", number=3, spacing_ijk_mm=(5.0, 5.0, 6.0))
    first = phantom_case(settings, tmp_path, tmp_path / "labels")
    content = first.label.read_bytes()
    assert phantom_case(settings, tmp_path, tmp_path / "labels") == first
    assert phantom_case(replace(settings, seed=1), tmp_path, tmp_path / "labels").hidden_truth != first.hidden_truth
    assert first.label.read_bytes() != content


def test_a_case_that_lost_a_file_is_made_again(tmp_path):
    settings = PhantomSettings("nasopharynx", number=3, spacing_ijk_mm=(5.0, 5.0, 6.0))
    case = phantom_case(settings, tmp_path, tmp_path / "labels")
    case.images[0].unlink()
    assert phantom_case(settings, tmp_path, tmp_path / "labels").images[0].is_file()


def test_the_styles_that_are_tested_are_told(tmp_path):
    data = evaluation_data(SMALL, tmp_path / "small.toml", tmp_path / "work")
    cases = cases_of_fold(data.folds, SMALL, 0)
    (line,) = data.style_counts({0: cases})
    offsets = [data.test_case(name).hidden_truth[0] for name in cases.test]
    assert line.startswith(f"fold 0: style offsets tested {min(offsets):+.2f} to {max(offsets):+.2f}")


@cache
def key_of(plan):
    return training_key(plan, phantom_data.identity(plan))


@pytest.mark.parametrize("change", [{"difficulty": "higher"}, {"seed": 1}, {"base_cases": 2}, {"model": "nnU-Net"}])
def test_what_decides_the_trainings_decides_their_folder(change):
    changed = replace(SMALL, **change)
    assert key_of(SMALL) != key_of(changed)


@pytest.mark.parametrize("change", [{"test_cases": 9, "test_folds": (1, 2)}, {"allowed_regression": 0.3}])
def test_neither_the_number_tested_nor_the_allowed_regression_decides_the_trainings_folder(change):
    assert key_of(SMALL) == key_of(replace(SMALL, **change))
