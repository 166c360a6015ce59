"""What the package and its MRML layer export; the pages use nothing else, and what they show runs as it stands."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import context_propagation
from bundles import write_bundle
from context_propagation import load_model
from nnunet_folders import write_nnunet_folder

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "docs/any-network.md",
    "docs/bundle.md",
    "docs/psnn.md",
    "docs/rtstruct.md",
    "docs/command-line.md",
]
TRAINED_MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_public_names_are_these():
    assert set(context_propagation.__all__) == {
        *("Session", "SessionSettings", "UpdateSettings", "PropagationResult"),
        *("SourceVolume", "SliceEdit", "find_edited_slices"),
        *("load_model", "LoadedModel", "from_network", "Preprocessing", "ChannelNormalisation", "Output"),
        *("save_bundle", "shipped_bundle", "UserInputError", "Cancelled"),
    }


@pytest.mark.parametrize("name", context_propagation.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    documented = inspect.getdoc(getattr(context_propagation, name))

    assert documented
    assert not documented.startswith(f"{name}("), "the docstring that dataclasses make"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'NnunetModel'"):
        context_propagation.NnunetModel  # noqa: B018


def test_the_mrml_layer_exports_what_scripts_need():
    pytest.importorskip("slicer")
    from context_propagation import mrml

    assert set(mrml.__all__) == {"ContextPropagationLogic", "add_phantom", "new_scene", "segment_mask"}
    for name in mrml.__all__:
        assert inspect.getdoc(getattr(mrml, name))
    with pytest.raises(AttributeError, match="no attribute 'propagate'"):
        mrml.propagate  # noqa: B018


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_use_public_names_alone(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    imported = [
        line for block in blocks(page) for line in block.splitlines() if "import" in line and "context_" in line
    ]

    assert "context_propagation." not in text.replace("context_propagation.mrml import", "")
    for line in imported:
        names = re.fullmatch(r"from context_propagation import (.*)", line).group(1).split(", ")
        assert set(names) <= set(context_propagation.__all__)


def test_the_readme_s_python_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_nnunet_folder(tmp_path / "Dataset001_GTV" / TRAINED_MODEL, patch_size=(16, 16, 16), features=(4, 8, 8))
    image = np.random.default_rng(0).normal(size=(46, 16, 16)).astype(np.float32)
    image[38:, 4:12, 4:12] += 3
    sitk.WriteImage(sitk.GetImageFromArray(image), "ct.nii.gz")
    drawn = np.zeros((16, 16), bool)
    drawn[4:12, 4:12] = True
    (code,) = blocks("README.md")
    (imports,) = re.findall(
        r"`(from context_propagation import .*?)`", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    names = {"sitk": sitk, "drawn": drawn}

    exec(imports, names)
    exec(code, names)

    assert np.array_equal(names["result"].segmentation[42], drawn)


def test_what_the_page_on_bundles_shows_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = write_nnunet_folder(tmp_path / TRAINED_MODEL)
    write_bundle(tmp_path / "BUNDLE", base, neighbours=3)
    use, make = blocks("docs/bundle.md")
    names = {}

    exec(use, names)
    exec(make, names)

    assert names["session"].settings.neighbours == 3
    assert load_model("ANOTHER", device="cpu").fusion_sha256 == names["loaded"].fusion_sha256
