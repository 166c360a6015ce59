"""The panel's case summary, as a user asks for it."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from as_a_user import click, process_events, settle
from summary_pages import SummaryPage

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHAPE = (16, 16, 16)

pytest.importorskip("monai")
pytest.importorskip("matplotlib")


@pytest.fixture
def module(application, models_loaded_once, monkeypatch):
    for name in ("contours_png", "changes_png"):  # they take most of the time; Testing/files looks at them
        monkeypatch.setattr(f"context_propagation.files.case_summary.{name}", lambda *_: b"")
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield application
    sys.modules["slicer"].modules.contextpropagation.widgetRepresentation().self().cleanup()
    importlib.import_module("context_propagation.gui.work.shared").release()


@pytest.fixture
def add_ct(module):
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    def add(name="CT"):
        voxels = np.random.default_rng(3).normal(size=(1, *SHAPE)).astype(np.float32)
        return add_volume(module.scene, SourceVolume(voxels, np.diag([0.8, 1.1, 2.5, 1.0])), name)

    return add


class User:
    """What a user sees and does."""

    def __init__(self, application, bundle):
        from context_propagation.gui.model_list import ModelList
        from context_propagation.gui.work.shared import shared

        ModelList().add(bundle)
        self.application, self.shared = application, shared()
        self.panel = application.open_module("ContextPropagation").panel
        self.ui = self.panel.inputs._ui
        paths = [model.path for model in self.panel.inputs.models.listed]
        self.ui.modelSelector.setCurrentIndex(paths.index(bundle))
        self.ui.measureSection.collapsed = False

    def click(self, name):
        click(getattr(self.ui, name))
        process_events(until=lambda: not self.shared.runner.busy, at_most=60)
        settle()

    def predict(self, volume):
        self.ui.firstVolumeSelector.setCurrentNode(volume)
        self.click("predictButton")


@pytest.fixture
def user(module, effect_bundle):
    return User(module, effect_bundle)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Where the user says that the page goes, call by call."""
    import qt

    answers = []
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: answers.pop(0))
    return answers


def test_without_a_prediction_there_is_nothing_to_summarise(user, add_ct):
    user.ui.firstVolumeSelector.setCurrentNode(add_ct())

    assert not user.ui.summaryButton.enabled
    assert not user.ui.summaryLabel.visible


def test_the_page_is_written_with_the_title_which_goes_and_the_place_is_said(user, add_ct, asked, tmp_path):
    user.predict(add_ct())
    user.ui.summaryTitle.text = " Plan 2 "
    asked.append(str(tmp_path / "page.html"))

    user.click("summaryButton")

    assert user.application.texts("error") == []
    page = SummaryPage((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.text.count("Plan 2") == 2
    assert page.value("DSC") == "1.000"
    assert user.ui.summaryLabel.visible
    assert "page.html" in user.ui.summaryLabel.text
    assert user.ui.summaryTitle.text == ""
    assert user.ui.summaryButton.enabled


def test_another_segment_takes_neither_title_nor_place_over_and_has_no_page(user, add_ct, asked, tmp_path):
    ct = add_ct()
    user.predict(ct)
    asked.append(str(tmp_path / "page.html"))
    user.click("summaryButton")
    user.ui.summaryTitle.text = "Jane Roe"
    node = user.shared.logic.selection.segmentation_node

    segment = node.GetSegmentation().AddEmptySegment("other", "other")
    user.ui.segmentSelector.setCurrentSegmentID(segment)
    settle()

    assert user.ui.summaryTitle.text == ""
    assert user.ui.summaryLabel.text == ""
    assert not user.ui.summaryButton.enabled


def test_an_ending_is_added_and_what_is_there_is_asked_about(user, add_ct, asked, tmp_path):
    user.predict(add_ct())
    (tmp_path / "page.html").write_text("mine")
    asked += [str(tmp_path / "page"), str(tmp_path / "page")]
    user.application.answers += [False, True]

    user.click("summaryButton")
    assert (tmp_path / "page.html").read_text() == "mine"

    user.click("summaryButton")
    assert "Case summary" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_no_answer_writes_nothing_and_a_place_that_cannot_be_written_is_told(user, add_ct, asked, tmp_path):
    user.predict(add_ct())
    asked += ["", str(tmp_path / "nowhere" / "page.html")]

    user.click("summaryButton")
    assert user.application.texts("error") == []
    user.ui.summaryTitle.text = "kept"
    user.click("summaryButton")

    assert "its folder does not exist" in user.application.texts("error")[0]
    assert user.ui.summaryTitle.text == "kept"
    assert sorted(tmp_path.rglob("page*")) == []


def test_after_the_session_was_closed_the_scene_s_record_is_summarised(user, add_ct, asked, tmp_path):
    user.predict(add_ct())
    user.shared.logic.close()
    user.panel.update()
    asked.append(str(tmp_path / "page.html"))

    user.click("summaryButton")

    assert user.application.texts("error") == []
    assert "No edit was propagated." in (tmp_path / "page.html").read_text(encoding="utf-8")
