"""What a bundle says of its training, and where a model's bundle goes."""

import json
from pathlib import Path

import pytest

from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.bundle.trained_bundle import place_of_bundle, read_trained_bundle
from context_propagation.core.errors import UserInputError


def write(folder, dsc, training=(3, 4), validation=(1, 2)):
    made = {"training_cases": training, "validation_cases": validation, "validation": {"dsc": dsc}}
    (folder / "bundle.json").write_text(json.dumps({"provenance": made}))
    return folder


def test_cases_of_all_folds_count_and_the_gain_is_that_over_the_control(tmp_path):
    dsc = {"largest, far, baseline": 0.5, "largest, far, no-edit control": 0.5625, "largest, far, fusion": 0.75}

    trained = read_trained_bundle(write(tmp_path, dsc))

    assert (trained.training_cases, trained.validation_cases) == (7, 3)
    assert trained.gain == 0.1875
    assert trained.summary == (
        "trained on 7 cases, validated on 3; DSC of far slices 0.500 before, 0.750 with an edit, 0.562 by the no-edit "
        "control: the edit itself gains +0.188"
    )


def test_the_bundle_that_ships_says_what_its_file_says():
    trained = read_trained_bundle(shipped_bundle())

    assert (trained.training_cases, trained.validation_cases) == (29, 7)
    assert f"{trained.before:.3f} {trained.with_edit:.3f} {trained.control:.3f}" == "0.596 0.665 0.596"
    assert f"{trained.gain:.3f}" == "0.069"


def test_without_far_slices_nothing_is_said_of_a_gain(tmp_path):
    trained = read_trained_bundle(write(tmp_path, {"largest, far, fusion": None}))

    assert trained.gain is None
    assert trained.summary == "trained on 7 cases, validated on 3; no far slice to measure"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"provenance": {"validation": {"dsc": []}}}'])
def test_a_folder_that_says_nothing_of_a_training_is_refused(tmp_path, content):
    (tmp_path / "bundle.json").write_text(content)

    with pytest.raises(UserInputError, match="says nothing of a training"):
        read_trained_bundle(tmp_path)


def test_a_bundle_goes_beside_the_model_with_its_label_where_one_is_named():
    model = Path("/data/nnUNet_results/Dataset007_Tumour/nnUNetTrainer__nnUNetPlans__3d_fullres")

    assert place_of_bundle(model) == model.with_name(f"{model.name}-bundle")
    assert place_of_bundle(model / "fold_0" / "..", "GTV p/n") == model.with_name(f"{model.name}-GTV_p_n-bundle")


def test_a_relative_model_s_bundle_is_beside_it_and_not_in_it(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")

    assert place_of_bundle(Path()) == tmp_path / "model-bundle"
