"""What the package and its MRML layer export; the pages use nothing else."""

import inspect
import re
from pathlib import Path

import pytest

import context_propagation

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "docs/any-network.md",
    "docs/bundle.md",
    "docs/psnn.md",
    "docs/rtstruct.md",
    "docs/command-line.md",
]


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
