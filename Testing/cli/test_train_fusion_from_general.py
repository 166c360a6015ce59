"""`train-fusion` with few cases: the general far network is trained further, and the bundle holds it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from context_propagation.cli.main import main
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.bundle.general_file import load_general_far
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.general_far import TunedGeneral
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation import tuned_training, validated_bundle
from context_propagation.evaluation.course import Course, tell_no_one
from context_propagation.evaluation.fusion_recipe import FusionRecipe
from context_propagation.evaluation.training_fold import TrainingFold
from context_propagation.files.image_files import read_source_volume
from context_propagation.training.general import general_tuning
from context_propagation.training.kept_examples import KeptExamples
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from nnunet_folders import write_nnunet_folder
from nnunet_layout import write_cases


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, 4)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Two folds."""
    return write_nnunet_folder(tmp_path_factory.mktemp("base") / "model", folds=(0, 1), spacing=(1.9, 1.9, 1.9))


def arguments(base: Path, data: Path, output: Path, *more: object) -> list[str]:
    folds = data / "splits_final.json"
    folds.write_text(json.dumps([{"train": [], "val": [f"case_{n}", f"case_{n + 1}"]} for n in (0, 2)]))
    words = ["train-fusion", "--model", base, "--images", data / "images", "--labels", data / "labels"]
    words += ["--output", output, "--folds", folds, "--epochs", 1, "--edits-per-case", 1, "--augmented-copies", 0]
    return [str(word) for word in (*words, "--jobs", 1, "--device", "cpu", *more)]


@pytest.fixture(scope="module")
def trained(base, data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("out") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(general_tuning, "LEAST_STEPS", 1)
        patch.setattr(tuned_training, "LEAST_STYLES", 1)
        assert main(arguments(base, data, output)) == 0
    return output


def test_with_few_cases_the_bundle_holds_one_general_network_for_all_folds_that_is_not_the_shipped_one(trained):
    fusion = load_model(trained, device="cpu").fusion

    assert isinstance(fusion, TunedGeneral)
    shipped, tuned = load_general_far().network.state_dict(), fusion.network.state_dict()
    assert shipped.keys() == tuned.keys()
    assert (fusion.level, fusion.neighbours, fusion.reach) == (2, 2, "whole volume (trained for this model)")
    assert not fusion.network.training
    assert not any(parameter.requires_grad for parameter in fusion.network.parameters())


def test_it_says_from_what_it_started_on_how_many_cases_and_what_the_edit_is_worth(trained):
    made = json.loads((trained / "bundle.json").read_text())

    assert made["fusion"] == []
    assert (made["provenance"]["start"], made["provenance"]["harm_weight"]) == ("general", 4.0)
    assert (made["provenance"]["training_cases"], made["provenance"]["validation_cases"]) == ([1, 1], [1, 1])
    rows = {name.split(", ")[2] for name in made["provenance"]["validation"]["dsc"]}
    assert {"baseline", "update", "fusion", "no-edit control", "general"} <= rows
    names = {path.name for path in (trained / "training").iterdir()}
    assert {"fusion_general.csv", "no-edit-control_general.csv", "no-edit-control_general.safetensors"} <= names
    assert {path.name for path in trained.parent.iterdir()} == {"bundle"}


def test_a_session_of_the_bundle_says_that_its_far_slices_were_trained_for_this_model(trained, data):
    loaded = load_model(trained, device="cpu")
    assert loaded.with_general_far() is loaded
    assert loaded.description.reach == "whole volume (trained for this model)"
    session = loaded.session()
    session.set_image(read_source_volume([data / "images" / "case_0_0000.nii.gz"]))
    index = session.segmentation.shape[0] // 2
    drawn = np.roll(session.segmentation[index], 2, axis=0)

    result = session.preview([SliceEdit(0, index, drawn)]).result

    assert result.scope == "whole volume (trained for this model)"


def test_a_session_of_another_level_is_refused(trained):
    loaded = load_model(trained, device="cpu")
    with pytest.raises(UserInputError, match="trained for decoder level 2 and the session uses level 1"):
        Session(loaded.model, SessionSettings(level=1), loaded.fusion)


def test_saved_again_it_is_the_same(trained, base, tmp_path):
    fusion = load_model(trained, device="cpu").fusion

    save_bundle(tmp_path / "again", base, fusion, {}, label="GTV")

    again = load_model(tmp_path / "again", device="cpu").fusion
    assert again.content_hash == fusion.content_hash
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), fusion.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 8}, "is F32 16 x 16 x 1 x 1 x 1, not F32 8 x 16"),
        ({"maps": 3}, "general.maps"),
        ({"file": "../elsewhere"}, "general.file"),
        ({"file": "gone.safetensors"}, "is missing"),
        ({"more": 1}, "unknown entry 'general.more'"),
    ],
)
def test_a_damaged_entry_is_refused_by_its_name(trained, tmp_path, change, message):
    bundle = shutil.copytree(trained, tmp_path / "bundle")
    content = json.loads((bundle / "bundle.json").read_text())
    content["general"] |= change
    (bundle / "bundle.json").write_text(json.dumps(content))

    with pytest.raises(UserInputError, match=message):
        load_model(bundle, device="cpu")


@pytest.mark.parametrize(
    ("start", "variant", "cases", "general"),
    [
        ("auto", "adaptive", (7, 9), True),
        ("auto", "adaptive", (8, 9), False),
        ("auto", "attention", (1, 1), False),
        ("general", "attention", (20, 20), True),
        ("fresh", "adaptive", (1, 1), False),
    ],
)
def test_it_starts_from_the_general_network_where_a_fold_has_few_cases_or_where_it_is_told_to(
    start, variant, cases, general
):
    request = validated_bundle.TrainFusionRequest(Path("model"), start=start, fusion=variant)
    folds = [TrainingFold(None, (None,) * number, ()) for number in cases]

    assert validated_bundle._starts_from_general(request, folds) == general


@pytest.mark.parametrize(("asked", "shown"), [(0, 3), (5, 5)])
def test_each_training_case_has_three_further_contours_at_least_and_a_validation_case_none(
    tmp_path, monkeypatch, asked, shown
):
    seen, jobs = [], []
    kept = KeptExamples(lambda base, case, recipe, folder: seen.append((case, recipe)) or case, lambda case, folder: ())
    monkeypatch.setattr(tuned_training, "GENERAL_EXAMPLES", kept)
    monkeypatch.setattr(tuned_training, "tune_general", lambda job: jobs.append(job) or job.weights)
    cases = [LabelledCase(f"case_{number}", (), Path()) for number in range(3)]
    base = ModelSource(Path("model"), device="cpu")
    folds = [TrainingFold(base, tuple(cases[:2]), (cases[2],))] * 2
    recipe = FusionRecipe(contour_styles=asked, augmented_copies=1)

    rows = tuned_training.tuned_rows(recipe, folds, SessionSettings(), tmp_path, 1, Course([1.0] * 5, tell_no_one))

    assert [recipe.styles for _, recipe in seen] == ([shown] * 4 + [0]) * 2
    assert [(len(job.training), len(job.validation), job.shown) for job in jobs] == [(8, 2, "edit"), (8, 2, "no edit")]
    assert [row.weights for row in rows] == [job.weights for job in jobs]
