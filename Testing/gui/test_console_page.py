"""What docs/console.md shows is run as it stands there."""

import ast
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "console.md"


def the_code_of_the_page():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.long
def test_all_code_of_the_page_runs_in_the_application_one_block_after_the_other(application, tmp_path, monkeypatch):
    pytest.importorskip("nnunetv2")
    pytest.importorskip("monai")
    application.load_module(ROOT / "SlicerContextPropagation" / "ContextPropagation.py")
    application.finish_startup()
    monkeypatch.chdir(tmp_path)
    names, blocks, after = {}, the_code_of_the_page(), {}

    for code in blocks:
        exec(code, names)
        logic = names["logic"]
        after[code] = (len(logic.history), logic.segment_mask() if logic.selection else None)

    first, *_, saved, last = blocks
    assert logic.scene is names["volume"].GetScene() is application.scene
    assert names["done"].report.written > 0
    assert (tmp_path / "refined.seg.nrrd").is_file()
    assert names["ct"].GetName() == names["volume"].GetName() == "Phantom CT"
    assert names["without_application"].scene is not application.scene
    assert np.array_equal(after[first][1][35], names["drawn"][35])
    assert "restore()" in saved
    assert (after[first][0], after[saved][0]) == (1, 1)
    assert np.array_equal(after[saved][1], after[first][1])  # replaying writes nothing
    assert names["pending"].result.changed.any()
    assert after[last] == (0, None)  # closed


def test_all_code_of_the_page_can_be_read_and_calls_what_is_there():
    pytest.importorskip("slicer")
    from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
    from context_propagation.mrml.nodes.scenes import new_scene

    code = "\n".join(the_code_of_the_page())
    used = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "logic"
    }

    assert len(used) > 10
    assert used <= set(dir(ContextPropagationLogic(new_scene())))


def test_the_whole_job_has_at_most_15_lines():
    assert len(the_code_of_the_page()[0].splitlines()) <= 15


def test_without_the_application_the_logic_takes_a_scene():
    slicer = pytest.importorskip("slicer")
    names = {}

    (code,) = (code for code in the_code_of_the_page() if "new_scene" in code)
    exec(code, names)

    assert "ContextPropagation" not in sys.modules
    assert isinstance(names["without_application"].scene, slicer.vtkMRMLScene)


def test_every_call_that_the_page_names_is_there_with_these_arguments():
    pytest.importorskip("slicer")
    from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic

    cells = re.findall(r"^\| (`.*?) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    calls = [call for cell in cells for call in re.findall(r"`(\w+)\((.*?)\)`", cell)]
    written = {name: re.sub(r"\s", "", arguments) for name, arguments in calls}

    assert len(written) > 15
    for name, arguments in written.items():
        real = list(inspect.signature(getattr(ContextPropagationLogic, name)).parameters.values())[1:]
        shown = ",".join(str(p.replace(annotation=p.empty)) for p in real)
        assert arguments == shown.replace("'", '"'), name
