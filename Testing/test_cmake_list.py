"""What the extension installs: the build copies the files that CMakeLists.txt names, and says nothing of others."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "SlicerContextPropagation"
COMMANDS = tuple(
    f"context_propagation/{room}/"
    for room in ("benchmark", "cli", "evaluation", "page", "segmentations", "server", "training")
)
"""Rooms that only a process of its own imports; test_import_direction holds `mrml` and `gui` to it."""
NOT_SHIPPED = ("CMakeLists.txt", "ruff.toml")
OWN_FILES = "https://raw.githubusercontent.com/SlicerContextPropagation/SlicerContextPropagation/main/"


def is_shipped(file: Path) -> bool:
    hidden = any(
        part.startswith(".") or part in ("__pycache__", "built") or part.endswith(".egg-info") for part in file.parts
    )
    return not hidden and file.name not in NOT_SHIPPED


def shipped_files(variable: str) -> set[str]:
    """What one of the lists must name."""
    files = {
        f.relative_to(MODULE).as_posix() for f in MODULE.rglob("*") if f.is_file() and is_shipped(f.relative_to(MODULE))
    }
    scripts = {name for name in files if name.endswith(".py")}
    commands = {name for name in scripts if name.startswith(COMMANDS)}
    return {"MODULE_SCRIPTS": scripts - commands, "COMMAND_SCRIPTS": commands, "MODULE_RESOURCES": files - scripts}[
        variable
    ]


def listed_files(variable: str) -> list[str]:
    text = (MODULE / "CMakeLists.txt").read_text("utf-8")
    block = re.search(rf"set\({variable}\s+(.*?)\)", text, re.DOTALL)
    assert block is not None, f"CMakeLists.txt has no {variable}"
    return block.group(1).split()


def setting(name: str) -> str:
    found = re.search(rf'set\({name} "([^"]+)"\)', (ROOT / "CMakeLists.txt").read_text("utf-8"))
    assert found is not None, f"CMakeLists.txt has no {name}"
    return found.group(1)


def corrections(listed: list[str], shipped: set[str]) -> str:
    """The lines to add and to remove, ready to be copied."""
    add = [f"  {name}" for name in sorted(shipped - set(listed))]
    remove = [f"  {name}" for name in sorted(set(listed) - shipped)]
    return "\n".join((*(["add:", *add] if add else []), *(["remove:", *remove] if remove else [])))


@pytest.mark.parametrize("variable", ["MODULE_SCRIPTS", "COMMAND_SCRIPTS", "MODULE_RESOURCES"])
def test_every_shipped_file_is_listed_once_and_in_order(variable):
    listed = listed_files(variable)

    wrong = corrections(listed, shipped_files(variable))
    assert not wrong, f"SlicerContextPropagation/CMakeLists.txt, {variable}:\n{wrong}"
    assert listed == sorted(set(listed))


def test_the_corrections_are_lines_to_copy():
    assert corrections(["a.py", "c.py"], {"a.py", "b.py"}) == "add:\n  b.py\nremove:\n  c.py"
    assert corrections(["a.py"], {"a.py"}) == ""


def test_caches_and_tool_settings_are_not_shipped():
    left_out = ("core/ruff.toml", "core/__pycache__/a.pyc", "slicer_x.egg-info/PKG-INFO", "CMakeLists.txt", ".DS_Store")
    assert [f for f in left_out if is_shipped(Path(f))] == []


def test_the_bundle_is_installed_beside_the_package_that_looks_for_it():
    resources = listed_files("MODULE_RESOURCES")

    assert "context_propagation/bundles/nasopharynx_phantom/bundle.json" in resources
    assert "context_propagation/core/bundle/shipped_bundle.py" in listed_files("MODULE_SCRIPTS")
    assert not [f for f in resources if f.startswith("..")], "Slicer's build installs nothing from outside the folder"


def test_slicer_finds_one_module_in_the_module_folder():
    assert [f for f in listed_files("MODULE_SCRIPTS") if "/" not in f] == ["ContextPropagation.py"]


def test_the_extension_depends_on_pytorch():
    assert setting("EXTENSION_DEPENDS") == "PyTorch"


def test_the_extension_has_its_name_and_a_license():
    project = re.search(r"project\((\w+)\)", (ROOT / "CMakeLists.txt").read_text("utf-8"))

    assert project is not None
    assert project.group(1) == "ContextPropagation"
    assert not project.group(1).lower().startswith("slicer")
    assert (ROOT / "LICENSE").is_file()


@pytest.mark.parametrize("name", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_the_pictures_of_the_index_are_files_of_this_repository(name):
    addresses = setting(name).split()

    assert addresses
    for address in addresses:
        assert address.startswith(OWN_FILES)
        assert (ROOT / address.removeprefix(OWN_FILES)).read_bytes().startswith(b"\x89PNG")
