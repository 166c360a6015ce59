"""A training by nnU-Net itself: complete or not there, and not repeated."""

from __future__ import annotations

import importlib
import json
import multiprocessing.dummy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from context_propagation.training.base.nnunet_training import train_nnunet
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask

CASES = ["case_0", "case_1", "case_2"]
TASK = NnunetTask("Hippocampus", ("MRI",), "hippocampus")


def cases_in(folder: Path, names: list[str]) -> list[LabelledCase]:
    return [
        LabelledCase(name, (folder / "images" / f"{name}.nii.gz",), folder / "labels" / f"{name}.nii.gz")
        for name in names
    ]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with a bright box of labels 1 and 2, hippocampus-like in size."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for case in CASES:
        label = np.zeros((18, 20, 16), np.uint8)
        label[5:13, 4:10, 5:11] = 1
        label[5:13, 10:16, 5:11] = 2
        image = (generator.normal(size=label.shape) + 4 * (label > 0)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(image), str(folder / "images" / f"{case}.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / "labels" / f"{case}.nii.gz"))
    return folder


@pytest.fixture(params=["in threads", "in processes"])
def planning(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nnU-Net's workers measure the images: a process of its own imports torch and nnU-Net for many seconds.

    In threads they draw 10 thousand voxels for the statistics of intensities, not 100 million, for seconds.
    """
    if request.param == "in threads":
        fingerprint = pytest.importorskip("nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor")
        monkeypatch.setattr(
            fingerprint, "multiprocessing", SimpleNamespace(get_context=lambda way: multiprocessing.dummy)
        )
        monkeypatch.setattr(importlib.import_module("nnunetv2.utilities.utils"), "Pool", multiprocessing.dummy.Pool)
        run = fingerprint.DatasetFingerprintExtractor.run

        def run_on_few_voxels(extractor, *arguments):
            extractor.num_foreground_voxels_for_intensitystats = 10_000
            return run(extractor, *arguments)

        monkeypatch.setattr(fingerprint.DatasetFingerprintExtractor, "run", run_on_few_voxels)


@pytest.mark.quick(planning="in threads")
@pytest.mark.usefixtures("planning")
def test_training_leaves_a_standard_folder_and_is_not_repeated(data_dir: Path, tmp_path: Path) -> None:
    stages: list[str] = []

    def train(seed: int = 0) -> Path:
        return train_nnunet(
            cases_in(data_dir, CASES),
            TASK,
            tmp_path,
            epochs=1,
            iterations_per_epoch=2,
            seed=seed,
            progress=lambda stage, _: stages.append(stage),
        )

    folder = train()
    loaded = load_nnunet_folder(folder)
    assert folder.name == "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert loaded.trainer_name == "nnUNetTrainer"
    assert loaded.dataset_json["labels"] == {"background": 0, "hippocampus": 1}
    assert list(dict.fromkeys(stages)) == ["convert", "plan", "preprocess", "train"]
    record = json.loads(next(tmp_path.glob("*/training.json")).read_text())
    assert record["cases"] == CASES
    stages.clear()
    assert train() == folder
    assert not stages


def test_interrupted_training_does_not_look_complete(data_dir: Path, tmp_path: Path) -> None:
    def cancel(stage: str, fraction: float) -> None:
        raise Cancelled

    for _ in range(2):
        with pytest.raises(Cancelled):
            train_nnunet(cases_in(data_dir, CASES), TASK, tmp_path, progress=cancel)
        assert list(tmp_path.iterdir()) == []


def test_missing_case_is_refused_by_its_file(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"case_9\.nii\.gz' is missing"):
        train_nnunet(cases_in(data_dir, ["case_9"]), TASK, tmp_path)


def test_no_cases_are_refused(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="No training cases"):
        train_nnunet([], TASK, tmp_path)


def test_another_number_of_channels_is_refused(data_dir: Path, tmp_path: Path) -> None:
    task = NnunetTask("Oesophagus", ("CT", "PET"), "GTV")
    with pytest.raises(UserInputError, match=r"'case_0' has 1 image\(s\), and Oesophagus has the channels CT, PET"):
        train_nnunet(cases_in(data_dir, CASES), task, tmp_path)
