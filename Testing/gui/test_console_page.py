"""What docs/console.md shows is run as it stands there."""

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


def test_the_script_of_the_page_does_the_whole_job_in_the_application(application, tmp_path, monkeypatch):
    pytest.importorskip("nnunetv2")
    pytest.importorskip("monai")
    application.load_module(ROOT / "SlicerContextPropagation" / "ContextPropagation.py")
    monkeypatch.chdir(tmp_path)
    names = {}

    exec(the_code_of_the_page()[0], names)

    logic, done = names["logic"], names["done"]
    assert logic.scene is application.scene
    assert np.array_equal(logic.segment_mask()[35], names["drawn"][35])
    assert done.report.written > 0
    assert logic.suggested_slice() is not None
    assert (tmp_path / "refined.seg.nrrd").is_file()
    logic.close()


def test_the_script_of_the_page_has_at_most_15_lines():
    assert len(the_code_of_the_page()[0].splitlines()) <= 15


def test_without_the_application_the_logic_takes_a_scene():
    slicer = pytest.importorskip("slicer")
    names = {}

    exec(the_code_of_the_page()[1], names)

    assert "ContextPropagation" not in sys.modules
    assert isinstance(names["logic"].scene, slicer.vtkMRMLScene)


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
