"""The demo with the bundle that ships, and how that bundle is built."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bundles import write_bundle
from context_propagation.cli import build_demo, demo
from context_propagation.cli.build_demo import BuildDemoRequest
from context_propagation.cli.main import main
from context_propagation.core.bundle.bundle import load_bundle
from context_propagation.core.bundle.shipped_bundle import CONTROL, shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.phantom.unseen_phantoms import UNSEEN
from nnunet_folders import write_nnunet_folder

SMALL, SHIPPED = "a small bundle", "the shipped bundle"


@pytest.fixture(scope="module", params=[SMALL, SHIPPED])
def shown(request, tmp_path_factory) -> Path:
    """The output of one run of the demo; with the small bundle, which has random weights, on a coarse phantom."""
    output = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == SMALL:
            bundle = small_bundle(tmp_path_factory.mktemp("small"))
            patch.setattr(demo, "shipped_bundle", lambda: bundle)
            patch.setattr(demo, "UNSEEN", replace(UNSEEN, spacing_ijk_mm=(6.0, 6.0, 6.0)))
        assert main(["demo", "--output", str(output)]) == 0
    return output


def small_bundle(folder: Path) -> Path:
    base = write_nnunet_folder(folder / "base", folds=("all",), spacing=(6.0, 6.0, 6.0), channel_name="CT")
    bundle = write_bundle(folder / "bundle", base, folds=("all",), copy_base=True)
    (bundle / CONTROL).parent.mkdir()
    shutil.copyfile(bundle / "fusion_all.safetensors", bundle / CONTROL)
    return bundle


@pytest.mark.quick(shown=SMALL)
def test_the_demo_leaves_segmentation_report_figure_and_table(shown):
    assert (shown / "refined.seg.nrrd").stat().st_size > 1000
    assert (shown / "figure.png").stat().st_size > 10_000
    report = json.loads((shown / "report.json").read_text())
    assert report["scope"] == "whole volume (trained for this model)"
    assert len(report["edited_slices"]) == 1


@pytest.mark.quick(shown=SMALL)
def test_the_demo_s_table_has_the_controls(shown):
    rows = [line.split("|")[1].strip() for line in (shown / "table.md").read_text(encoding="utf-8").splitlines()[2:]]
    assert rows == ["baseline", "paste", "update", "fusion", "no-edit control"]


@pytest.mark.long
@pytest.mark.parametrize("shown", [SHIPPED], indirect=True)
def test_the_edit_improves_the_phantom_s_segmentation_in_the_whole_volume(shown):
    whole = {
        line.split("|")[1].strip(): float(line.split("|")[4])
        for line in (shown / "table.md").read_text(encoding="utf-8").splitlines()[2:]
    }
    assert whole["fusion"] > whole["paste"] > whole["baseline"]


@pytest.mark.quick(shown=SMALL)
def test_the_redrawn_slice_is_the_truth_s(shown):
    report = json.loads((shown / "report.json").read_text())
    (index,) = report["edited_slices"]
    edited, truth = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for path in (shown / "edited.nii.gz", shown / "truth" / f"{UNSEEN.name}.nii.gz")
    )
    assert np.array_equal(edited[index] > 0, truth[index] > 0)


def test_what_ships_is_small_and_says_where_it_comes_from():
    bundle = shipped_bundle()
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) <= 8 * 2**20
    assert (bundle / CONTROL).is_file()
    provenance = json.loads((bundle / "bundle.json").read_text())["provenance"]
    assert provenance["training_cases"]
    assert provenance["settings"]["seed"] == 0


def test_no_file_of_the_bundle_holds_code():
    assert not [path for path in shipped_bundle().rglob("*") if path.suffix in (".pkl", ".pickle", ".py", ".pt")]


@pytest.mark.long
def test_a_fusion_bundle_is_built_around_the_trained_base_model(tmp_path, monkeypatch):
    """With the base model that ships in place of another training of some minutes."""
    given = []

    def trained(training):
        given.extend([[case.name for case in training.cases], training.task.label, training.epochs])
        return shipped_bundle() / "model"

    monkeypatch.setattr(build_demo.BaseTraining, "run", trained)
    output = tmp_path / "bundle"
    said = build_demo.build_demo(
        BuildDemoRequest(output, None, base_cases=1, base_epochs=3, fusion_cases=2, epochs=1, jobs=1)
    )
    assert given == [["nasopharynx_000"], "GTV", 3]
    assert "MiB" in said
    model, fusion = load_bundle(output)
    assert model.target_name == "GTV"
    assert len(fusion.networks) == 1
    assert (output / CONTROL).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_cases": 0}, "--base-cases 0; give at least 1"),
        ({"fusion_cases": 1}, "--fusion-cases 1; give at least 2"),
        ({"base_cases": 800, "fusion_cases": 200}, "from case 900 on, cases are kept for tests"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(changes, said):
    with pytest.raises(UserInputError, match=said):
        BuildDemoRequest(**changes)
