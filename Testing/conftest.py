"""A small model, an image and segmentations on disk, made once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import SHAPE_KJI, ball_mask, edited_mask, sitk_image
from context_propagation.cli.main import main


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Torch, VTK and their like stay to the end: a search for garbage need not go through all their objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)  # tests leave little behind, and each search costs


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the cases long that `quick` does not name, and begin with trainings: a long file at the end has one core."""
    items.sort(key=lambda item: "training" not in item.path.parts)
    for item in items:
        quick = item.get_closest_marker("quick")
        if quick is not None and not all(_has(item.callspec, name, value) for name, value in quick.kwargs.items()):
            item.add_marker(pytest.mark.long)


def _has(case: Any, name: str, wanted: Any) -> bool:
    """Whether a parameter has one of the wanted values, or the value of that name or ID."""
    value = case.params[name]
    names = {getattr(value, "__name__", ""), *case.id.split("-")}
    return any(value == one or one in names for one in (wanted if isinstance(wanted, tuple) else (wanted,)))


@dataclass(frozen=True)
class Files:
    """Paths of good input."""

    folder: Path
    model: Path
    image: Path
    initial: Path
    edited: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Files:
    from nnunet_folders import write_nnunet_folder  # imports nnU-Net, which the process that hands out tests never uses

    folder = tmp_path_factory.mktemp("input")
    found = Files(
        folder,
        write_nnunet_folder(folder / "model", patch_size=(32, 32, 32)),
        folder / "image.nii.gz",
        folder / "initial.nii.gz",
        folder / "edited.nii.gz",
    )
    noise = np.random.default_rng(0).normal(size=SHAPE_KJI)
    sitk.WriteImage(sitk_image((noise + 2 * ball_mask()).astype(np.float32)), str(found.image))
    sitk.WriteImage(sitk_image(ball_mask().astype(np.uint8)), str(found.initial))
    sitk.WriteImage(sitk_image(edited_mask().astype(np.uint8)), str(found.edited))
    return found


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return self.err.splitlines()


@pytest.fixture
def run(capfd):
    """Run the command in this process."""

    def _run(*arguments) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return _run


@pytest.fixture
def refused(run, tmp_path):
    """Run with input that must be refused: exit code 2, one line on stderr, no traceback, nothing written."""

    def _refused(*arguments) -> str:
        before = sorted(tmp_path.rglob("*"))
        outcome = run(*arguments)
        assert outcome.code == 2
        assert len(outcome.error_lines) == 1, outcome.err
        assert outcome.err.startswith("context-propagation: error: ")
        assert outcome.out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return outcome.err

    return _refused


@pytest.fixture
def predict_arguments(files, tmp_path):
    def arguments(**changes):
        return _flat(
            "predict", {"model": files.model, "image": files.image, "output": tmp_path / "out.nii.gz"}, changes
        )

    return arguments


@pytest.fixture
def propagate_arguments(files, tmp_path):
    def arguments(**changes):
        usual = {
            "model": files.model,
            "image": files.image,
            "initial": files.initial,
            "edited": files.edited,
            "output": tmp_path / "out.nii.gz",
        }
        return _flat("propagate", usual, changes)

    return arguments


def _flat(command: str, usual: dict, changes: dict) -> list:
    options = [command]
    for name, value in {**usual, **changes}.items():
        options += [f"--{name}", *(value if isinstance(value, list) else [value])]
    return options


@pytest.fixture(scope="session")
def ct_dicom() -> Path:
    """A real CT as a DICOM folder."""
    root = Path(os.environ.get("CONTEXT_PROPAGATION_DATA", Path(__file__).parents[2] / "shared" / "data"))
    folder = root / "ct-dicom"
    if not folder.is_dir():
        pytest.skip(f"no real CT: '{folder}' is missing; set CONTEXT_PROPAGATION_DATA")
    return folder


@pytest.fixture
def models_loaded_once(monkeypatch):
    """For tests of what a command reads, computes and writes: loading a model took half of their time."""
    from command_models import load_once

    monkeypatch.setattr("context_propagation.cli.model_and_image.load_model", load_once)
