"""The rooms of the package, and which room may import which: each only what stands below it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from syntax_trees import nodes, parsed

ROOT = Path(__file__).parents[1] / "SlicerContextPropagation"
NAME = "context_propagation"
PACKAGE = ROOT / NAME

ENGINE = (
    "core", "core/image", "core/storage", "core/network", "core/model", "core/propagation", "core/session",
    "core/wire", "core/bundle", "core/measures", "core/phantom", "core/registration",
)  # fmt: skip
MRML = ("mrml", "mrml/nodes", "mrml/writing", "mrml/session")
ARROWS = {
    "": ENGINE,
    "core": (),
    "core/image": ("core",),
    "core/storage": ("core", "core/image"),
    "core/network": ("core", "core/image"),
    "core/phantom": ("core",),
    "core/registration": ("core", "core/image"),
    "core/measures": ("core", "core/image"),
    "core/model": ("core", "core/image", "core/storage", "core/network"),
    "core/propagation": ("core", "core/image", "core/network", "core/model"),
    "core/session": ("core", "core/image", "core/storage", "core/model", "core/propagation"),
    "core/wire": ("core", "core/image", "core/propagation", "core/session"),
    "core/bundle": (
        "core",
        "core/image",
        "core/storage",
        "core/model",
        "core/propagation",
        "core/session",
        "core/phantom",
    ),
    "mrml/nodes": ("core", "core/image", "core/storage"),
    "mrml/writing": ("core", "core/image", "mrml/nodes"),
    "mrml/session": (
        *("core", "core/image", "core/model", "core/session", "core/bundle"),
        *("mrml/nodes", "mrml/writing"),
    ),
    "mrml": (*ENGINE, "files", "remote", "mrml/nodes", "mrml/writing", "mrml/session"),
    "files": ("", "core", "core/image", "core/phantom", "core/measures", "core/session"),
    "segmentations": ("core", "core/image", "files", "mrml/nodes", "mrml/writing"),
    "remote": (  # of these only what needs no torch: see test_without_torch
        *("core", "core/image", "core/model", "core/propagation", "core/session", "core/bundle", "core/wire"),
    ),
    "server": ("", *ENGINE, "files"),
    "page": ("", *ENGINE, "files", "segmentations", "server"),
    "training": (*ENGINE, "files", "segmentations"),
    "training/base": (*ENGINE, "files", "segmentations", "training"),
    "training/fusion": (*ENGINE, "files", "segmentations", "training"),
    "training/general": (*ENGINE, "files", "segmentations", "training", "training/base", "training/fusion"),
    "evaluation": (
        *(*ENGINE, "files", "segmentations"),
        *("training", "training/base", "training/fusion", "training/general"),
    ),
    "benchmark": ENGINE,
    "cli": (
        *("", *ENGINE, "benchmark", "files", "segmentations", "remote", "server", "page"),
        *("training", "training/base", "training/general", "evaluation"),
    ),
    "gui/work": ("core", "mrml", "mrml/session"),
    "gui": (*ENGINE, *MRML, "files", "remote", "gui/work"),
    "gui/packages": ("core", "core/storage", "gui/work"),
    "gui/module": (*ENGINE, *MRML, "files", "remote", "gui", "gui/work", "gui/packages"),
    "gui/effect": (*ENGINE, *MRML, "gui", "gui/work"),
}
"""Room to the rooms that its files may import; a room may always import itself."""

QT = ("qt", "ctk", "PythonQt", "PySide6")
SLICER = ("slicer", "vtk")
APPLICATION = ("slicer.app", "slicer.mrmlScene", "slicer.modules", "slicer.ScriptedLoadableModule")
OUTSIDE = {
    **dict.fromkeys(
        ("core", "files", "training", "evaluation", "benchmark", "remote", "server", "page"), (*SLICER, *QT)
    ),
    **dict.fromkeys(("mrml", "segmentations", "cli"), (*QT, *APPLICATION)),
}
"""First folder to what its files may not use of others."""
IMPORTERS = ("require", "import_module", "importlib.import_module", "__import__")


def room_of(file: Path) -> str:
    return "" if file.parent == PACKAGE else file.parent.relative_to(PACKAGE).as_posix()


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module or name that is imported, also in a function, for type checking, or by a name in a string."""
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and name_of(node.func) in IMPORTERS and node.args:
            yield ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else ""


def name_of(called: ast.expr) -> str:
    """A name, or a name and its attribute; empty for anything longer."""
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return f"{called.value.id}.{called.attr}"
    return called.id if isinstance(called, ast.Name) else ""


def chains(tree: ast.AST) -> Iterator[str]:
    """Every attribute of a name, such as slicer.app."""
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


@cache
def module_of(name: str) -> str | None:
    """The module of ours that a dotted name lies in, as a path below the package; None for others' names."""
    parts = name.split(".")
    if parts[0] != NAME:
        return None
    for length in range(len(parts), 1, -1):
        path = PACKAGE.joinpath(*parts[1:length])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return "/".join(parts[1:length])
    return ""


def rooms_imported(source: str) -> dict[str, str]:
    """Room to the name by which a source imports it."""
    found = {}
    for name in imported(parsed(source)):
        module = module_of(name)
        if module is not None:
            is_room = (PACKAGE / module / "__init__.py").is_file()
            found[module if is_room else module.rpartition("/")[0]] = name
    return found


def forbidden_rooms(source: str, room: str) -> dict[str, str]:
    return {r: name for r, name in rooms_imported(source).items() if r != room and r not in ARROWS[room]}


def forbidden_outside(source: str, room: str) -> list[str]:
    tree, names = parsed(source), OUTSIDE.get(room.partition("/")[0], ())
    used = [*imported(tree), *chains(tree)]
    return [u for u in used if any(u == name or u.startswith(name + ".") for name in names)]


def test_every_room_has_its_arrows_and_says_what_lives_in_it():
    assert {room_of(f) for f in files()} == set(ARROWS)
    for room in ARROWS:
        tree = parsed((PACKAGE / room / "__init__.py").read_text("utf-8"))
        assert ast.get_docstring(tree), f"{room}/__init__.py does not say what lives there"


def test_the_arrows_go_round_in_no_circle():
    def reached(room: str, seen: tuple[str, ...]) -> None:
        assert room not in seen, " -> ".join([*seen, room])
        for below in ARROWS[room]:
            if below:  # the package itself: its version
                reached(below, (*seen, room))

    for room in ARROWS:
        reached(room, ())


def test_a_file_imports_only_what_stands_below_it():
    faults = {}
    for file in files():
        source, room = file.read_text("utf-8"), room_of(file)
        used = [*forbidden_rooms(source, room).values(), *forbidden_outside(source, room)]
        if used:
            faults[file.relative_to(PACKAGE).as_posix()] = used

    assert faults == {}


def test_no_file_imports_itself_by_a_detour():
    graph = {}
    for file in files():
        module = file.relative_to(PACKAGE).with_suffix("").as_posix()
        names = set(imported(parsed(file.read_text("utf-8"))))
        graph[module] = {m for name in names if (m := module_of(name)) and m != module}

    def circle(module: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if module in path:
            return (*path[path.index(module) :], module)
        if module in clean:
            return None
        found = next((c for m in sorted(graph.get(module, ())) if (c := circle(m, (*path, module)))), None)
        clean.add(module)
        return found

    clean: set[str] = set()
    assert [c for module in graph if (c := circle(module, ()))] == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core/image", f"from {NAME}.core.network.split_network import SplitNetwork"),
        ("core/propagation", f"from {NAME}.core.session.session import Session"),
        ("core/model", f"def load():\n    from {NAME}.core.bundle.bundle import load_model"),
        ("core/storage", f"import {NAME}.core.model.model_kinds"),
        ("files", f"from {NAME}.mrml.nodes import segments"),
        ("files", f"import_module('{NAME}.segmentations.seg_nrrd_files')"),
        ("mrml/nodes", f"from {NAME}.mrml.writing.segment_writer import write_changed_voxels"),
        ("mrml", f"from {NAME} import gui"),
        ("gui/packages", f"from {NAME}.gui.module.panel import Panel"),
        ("gui/module", f"from {NAME}.training.processes import run_in_parallel"),
        ("mrml", f"from {NAME}.evaluation.run import evaluate"),
        ("training", f"from {NAME}.evaluation import run"),
        ("evaluation", f"from {NAME}.cli.main import main"),
        ("benchmark", f"from {NAME}.evaluation.run import evaluate"),
        ("remote", f"from {NAME}.server.worker import Worker"),
        ("server", f"from {NAME}.remote.lease import Lease"),
        ("core/wire", f"from {NAME}.remote.lease import Lease"),
    ],
)
def test_an_arrow_turned_round_is_seen(room, line):
    assert forbidden_rooms(line, room)


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core", "import vtk"),
        ("core/session", "import slicer.util"),
        ("core", "require('slicer', extra='mrml')"),
        ("files", "import slicer"),
        ("training/base", "import qt"),
        ("mrml/nodes", "import slicer\nscene = slicer.mrmlScene"),
        ("mrml", "from slicer import app"),
        ("cli", "import qt"),
    ],
)
def test_a_forbidden_package_is_seen(room, line):
    assert forbidden_outside(line, room)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("core", "import vtk\n\nprint(vtk.VTK_VERSION)\n"),
        ("core/session", f"from {NAME}.mrml import self_test\n\nprint(self_test)\n"),
        ("files", "import slicer\n\nprint(slicer)\n"),
        ("training/fusion", "import qt\n\nprint(qt)\n"),
        ("evaluation", f"from {NAME}.cli import main\n\nprint(main)\n"),
        ("mrml", "import slicer\n\nscene = slicer.mrmlScene\n"),
        ("gui/module", f"from {NAME}.evaluation import run\n\nprint(run)\n"),
        ("evaluation", f"from {NAME}.benchmark import run\n\nprint(run)\n"),
        ("benchmark", f"from {NAME}.training import processes\n\nprint(processes)\n"),
        ("remote", "import torch\n\nprint(torch)\n"),
        ("remote", f"from {NAME} import server\n\nprint(server)\n"),
        ("server", f"from {NAME} import remote\n\nprint(remote)\n"),
        ("server", f"from {NAME} import page\n\nprint(page)\n"),
        ("core/wire", f"from {NAME} import server\n\nprint(server)\n"),
    ],
)
def test_ruff_refuses_it_too(room, source):
    where = str(PACKAGE / room / "new_file.py")

    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", where, "-"]
    checked = subprocess.run(command, input=source, capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert "TID251" in checked.stdout


def test_slicer_finds_no_stray_module_in_the_module_folder():
    allowed = {"ContextPropagation.py"}
    assert {f.name for f in ROOT.glob("*.py")} - allowed == set()
