import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "SlicerContextPropagation"


def said_by_a_fresh_python(code):
    run = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{code}"]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()


def test_torch_works_after_its_library_was_loaded_first_and_garbage_is_collected_again_also_after_a_failure():
    code = """
import gc, threading
from context_propagation.core.long_imports import long_imports
def work():
    with long_imports():
        import torch
    print(int(torch.ones(2).sum()), gc.isenabled(), gc.get_freeze_count() > 0, "torch._dynamo" in sys.modules)
    before = gc.get_freeze_count()
    with long_imports():
        pass
    print(gc.get_freeze_count() == before)
try:
    with long_imports():
        raise ImportError
except ImportError:
    print(gc.isenabled(), gc.get_freeze_count())
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    assert said_by_a_fresh_python(code) == ["True", "0", "2", "True", "True", "True", "True"]


@pytest.mark.parametrize("module", ["context_propagation.mrml.context_propagation_logic"])
def test_what_the_effect_needs_at_first_imports_nothing_long(module):
    pytest.importorskip("slicer")
    code = f"""
import {module}
print(*[name for name in ("torch", "SimpleITK", "scipy", "pandas", "nnunetv2", "monai") if name in sys.modules], "end")
"""
    assert said_by_a_fresh_python(code) == ["end"]
