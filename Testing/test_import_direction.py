"""Imports run one way: core <- mrml <- gui, and cli on top of core and mrml."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "SlicerContextPropagation"
PACKAGE = ROOT / "context_propagation"
QT = ("qt", "ctk", "PythonQt", "PySide6")
APPLICATION = ("slicer.app", "slicer.mrmlScene", "slicer.modules", "slicer.ScriptedLoadableModule")
FORBIDDEN = {
    "core": ("context_propagation.mrml", "context_propagation.gui", "context_propagation.cli", "slicer", "vtk", *QT),
    "mrml": ("context_propagation.gui", "context_propagation.cli", *QT, *APPLICATION),
    "cli": ("context_propagation.gui", *QT, *APPLICATION),
    "gui": ("context_propagation.cli",),
}
HEAVY = ("nnunetv2", "monai", "matplotlib", "slicer", "vtk")


def dotted_names(tree: ast.AST) -> Iterator[str]:
    """Every imported name, and every attribute chain that starts at a name, such as slicer.app."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in ("require", "importlib.import_module", "__import__"):
                yield str(node.args[0].value)


def forbidden_names(source: str, layer: str) -> list[str]:
    names = dotted_names(ast.parse(source))
    return [n for n in names if any(n == f or n.startswith(f + ".") for f in FORBIDDEN[layer])]


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_layer_imports_nothing_above_it(layer):
    files = sorted((PACKAGE / layer).rglob("*.py"))
    found = {str(f.relative_to(ROOT)): names for f in files if (names := forbidden_names(f.read_text("utf-8"), layer))}

    assert files
    assert found == {}


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("core", "import vtk"),
        ("core", "from context_propagation.mrml import segment_writer"),
        ("core", "from context_propagation import mrml"),
        ("core", "import slicer.util"),
        ("core", "require('slicer', extra='mrml')"),
        ("mrml", "import slicer\nscene = slicer.mrmlScene"),
        ("mrml", "from slicer import app"),
        ("cli", "from context_propagation.gui import panel"),
    ],
)
def test_a_forbidden_import_is_seen(layer, line):
    assert forbidden_names(line, layer)


def test_ruff_refuses_a_forbidden_import_in_core():
    source = "import vtk\n\nprint(vtk.VTK_VERSION)\n"
    where = str(PACKAGE / "core" / "new_file.py")

    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", where, "-"]
    checked = subprocess.run(command, input=source, capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert "TID251" in checked.stdout


def test_ruff_refuses_the_application_in_mrml():
    source = "import slicer\n\nscene = slicer.mrmlScene\n"
    where = str(PACKAGE / "mrml" / "new_file.py")

    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", where, "-"]
    checked = subprocess.run(command, input=source, capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert "TID251" in checked.stdout


def test_importing_the_core_imports_no_optional_package():
    modules = [f"context_propagation.core.{f.stem}" for f in sorted((PACKAGE / "core").glob("*.py"))]
    program = (
        f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m.removesuffix('.__init__'))\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_slicer_finds_no_stray_module_in_the_module_folder():
    allowed = {"ContextPropagation.py"}
    assert {f.name for f in ROOT.glob("*.py")} - allowed == set()
