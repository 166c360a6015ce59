"""Slicer may have no torch: what mrml and gui import before the packages are installed, and files, need none."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

ROOT = Path(__file__).parents[1] / "SlicerContextPropagation"
PACKAGE = ROOT / "context_propagation"
ROOMS = ("core", "core/image", "core/phantom", "core/registration", "core/wire", "files", "remote", "segmentations")
SINGLE = (
    "core/bundle/loaded_model",
    "core/bundle/shipped_bundle",
    "core/model/model_kinds",
    "core/model/model_listing",
    "core/session/history",
    "core/session/saved_settings",
    "core/session/session_file",
)
NEEDS_SLICER = "segmentations/seg_nrrd_files"


def modules(rooms: tuple[str, ...]) -> list[str]:
    found = [
        file.relative_to(PACKAGE).with_suffix("") for room in rooms for file in sorted((PACKAGE / room).glob("*.py"))
    ]
    return [path.as_posix() for path in found if path.name != "__init__" and path.as_posix() != NEEDS_SLICER]


def imports(paths: list[str]) -> str:
    names = ["context_propagation." + path.replace("/", ".") for path in paths]
    return f"import importlib\nfor name in {json.dumps(names)}: importlib.import_module(name)\n"


def reading(folder: Path) -> str:
    return f"""
from pathlib import Path
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_mask
folder = Path({str(folder)!r})
volume = read_source_volume([folder / "ct.nii.gz"])
print(read_mask(folder / "label.nii.gz", Wanted("GTV", (1,)), volume).sum())
"""


VERSIONS = """
from context_propagation.core.device import free_device_memory
from context_propagation.core.provenance import installed_versions
free_device_memory()
print(sorted(installed_versions()))
"""
RUN_ALL = """
import contextlib, io, json, sys, traceback
sys.modules["torch"] = None
said = {}
for name, program in json.load(sys.stdin).items():
    out, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(program, {})
    except BaseException:
        error = traceback.format_exc()
    said[name] = out.getvalue().strip(), error
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What each program said, in one Python that has no torch; each start of one costs more than the programs."""
    folder = tmp_path_factory.mktemp("images")
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    sitk.WriteImage(image, str(folder / "ct.nii.gz"))
    sitk.WriteImage(image > 40, str(folder / "label.nii.gz"))
    programs = {
        "ground": imports([*modules(ROOMS), *SINGLE]),
        "versions": VERSIONS,
        "reading": reading(folder),
        "mrml": imports([*modules(("mrml", "mrml/nodes", "mrml/writing", "mrml/session")), NEEDS_SLICER]),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(programs),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)

    def of(name: str) -> str:
        out, error = said[name]
        assert not error, error
        return out

    return of


def test_the_ground_the_image_files_and_what_names_a_model_are_imported_without_torch(without_torch):
    without_torch("ground")


@pytest.mark.skipif(find_spec("slicer") is None, reason="needs slicer-core")
def test_the_mrml_layer_is_imported_without_torch(without_torch):
    without_torch("mrml")


def test_versions_are_listed_and_memory_is_given_back_without_torch(without_torch):
    assert "torch" in without_torch("versions")  # by its files, which are there; it was not imported


def test_an_image_and_a_labelmap_are_read_without_torch(without_torch):
    assert without_torch("reading") == "19"
