"""What a fresh Python imports, and how: each one that imports torch takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "SlicerContextPropagation"
HEAVY = ("nnunetv2", "monai", "matplotlib", "slicer", "vtk")


def said_by_a_fresh_python(code):
    run = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{code}"]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="module")
def with_torch():
    """What one Python says that imports torch in a thread, then the whole core."""
    files = sorted((PACKAGE / "context_propagation" / "core").rglob("*.py"))
    names = [".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") for file in files]
    code = f"""
import gc, importlib, json, threading
said = []
from context_propagation.core.long_imports import long_imports
def work():
    with long_imports():
        import torch
    said.extend([int(torch.ones(2).sum()), gc.isenabled(), gc.get_freeze_count() > 0, "torch._dynamo" in sys.modules])
    before = gc.get_freeze_count()
    with long_imports():
        pass
    said.append(gc.get_freeze_count() == before)
try:
    with long_imports():
        raise ImportError
except ImportError:
    said.extend([gc.isenabled(), gc.get_freeze_count()])
thread = threading.Thread(target=work)
thread.start()
thread.join()
for name in {names!r}: importlib.import_module(name)
print(json.dumps([said, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    return json.loads(" ".join(said_by_a_fresh_python(code)))


def test_torch_works_after_its_library_was_loaded_first_and_garbage_is_collected_again_also_after_a_failure(with_torch):
    assert with_torch[0] == [True, 0, 2, True, True, True, True]


def test_importing_the_core_imports_no_optional_package(with_torch):
    assert with_torch[1] == []


@pytest.mark.long  # among what Slicer imports at its start, with the panel's and the effect's modules
@pytest.mark.parametrize("module", ["context_propagation.mrml.context_propagation_logic"])
def test_what_the_effect_needs_at_first_imports_nothing_long(module):
    pytest.importorskip("slicer")
    code = f"""
import {module}
print(*[name for name in ("torch", "SimpleITK", "scipy", "pandas", "nnunetv2", "monai") if name in sys.modules], "end")
"""
    assert said_by_a_fresh_python(code) == ["end"]
