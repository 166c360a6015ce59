"""Training a fusion network from the panel: real Qt, and a process of its own.

In quick tests its jobs only wait; in long ones it is the command `train-fusion`, which really trains.
"""

import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from as_a_user import click, process_events, settle
from nnunet_layout import DATASET, write_layout
from other_processes import is_alive

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHORT = ("--epochs", "2", "--edits-per-case", "1", "--jobs", "1", "--device", "cpu")
SECONDS = 300


class User:
    """What a user sees and does in the section."""

    def __init__(self, application, *models):
        from context_propagation.gui.model_list import ModelList

        for model in models:
            ModelList().add(model)
        self.application = application
        self.panel = application.open_module("ContextPropagation").panel
        self.ui = self.panel.inputs._ui
        self.ui.trainingSection.collapsed = False
        self.choose(models[0])

    def choose(self, folder):
        self.ui.modelSelector.setCurrentIndex(self.listed.index(folder))
        settle()

    def train(self, *answers):
        self.application.answers = list(answers)
        click(self.ui.trainButton)

    def wait(self):
        process_events(until=lambda: self.training is None, at_most=SECONDS)
        settle()

    def wait_for(self, words):
        process_events(until=lambda: words in self.said or self.training is None, at_most=SECONDS)
        assert words in self.said

    @property
    def training(self):
        return self.panel.training._training

    @property
    def said(self):
        return self.ui.trainingLabel.text.replace("\u200b", "")

    @property
    def asked(self):
        return self.application.texts("question")

    @property
    def listed(self):
        return [model.path for model in self.panel.inputs.models.listed]

    @property
    def chosen(self):
        return self.panel.inputs.model.path


@pytest.fixture
def start(application, monkeypatch):
    """The module, opened with models on its list; what is given to `options` goes to each training."""
    from context_propagation.mrml import context_propagation_logic, fusion_training

    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)

    def _start(*models, options=SHORT):
        def short(*model, **named):
            return fusion_training.start_training(*model, **{**named, "options": options})

        monkeypatch.setattr(context_propagation_logic.ContextPropagationLogic, "train_fusion", staticmethod(short))
        return User(application, *models)

    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield _start
    from context_propagation.gui.work.shared import release

    opened = sys.modules["slicer"].modules.contextpropagation.widgetRepresentation()
    if opened is not None:
        opened.self().cleanup()
    release()


@pytest.fixture
def waits(monkeypatch):
    """The command's jobs only wait."""
    from context_propagation.mrml import fusion_training

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(fusion_training, "COMMAND", "waiting_training")


@pytest.fixture
def model(tmp_path):
    return write_layout(tmp_path / "with a space")


def bundle_of(model):
    return model.with_name(f"{model.name}-bundle")


def test_a_model_with_its_fusion_network_need_not_be_trained(start, model, effect_bundle):
    user = start(model, effect_bundle)
    assert user.ui.trainButton.enabled
    assert "on cases that the model never saw" in user.said

    user.choose(effect_bundle)

    assert not user.ui.trainButton.enabled
    assert user.said == "The chosen model has its fusion network."


def test_nothing_begins_without_a_yes(start, waits, model):
    user = start(model)

    user.train(False)

    (asked,) = user.asked
    assert f"The bundle will be '{bundle_of(model)}'." in asked
    assert user.training is None
    assert user.ui.trainingProgress.isHidden()


def test_a_training_shows_where_it_is_and_cancel_ends_all_its_processes(start, waits, model):
    user = start(model, options=("--seconds", "600"))
    user.train(True)
    assert "Training: begins" in user.said
    assert not user.ui.trainButton.enabled
    assert not user.ui.trainingProgress.isHidden()
    user.wait_for("Training: simulated edits")
    assert "If it is closed, the training stops" in user.said
    process = psutil.Process(user.training._process.pid)
    processes = [process, *process.children(recursive=True)]

    click(user.ui.stopTrainingButton)
    assert user.said == "Stopping the training..."
    assert not user.ui.stopTrainingButton.enabled
    user.wait()

    assert "train again, and it goes on" in user.said
    assert user.ui.trainButton.enabled
    assert user.ui.trainingProgress.isHidden()
    process_events(until=lambda: not any(map(is_alive, processes)), at_most=SECONDS)
    assert user.chosen == model
    assert not bundle_of(model).exists()


def test_a_closed_panel_ends_its_training(start, waits, model):
    user = start(model, options=("--seconds", "600"))
    user.train(True)
    user.wait_for("Training: simulated edits")
    training = user.training

    user.panel.close()

    process_events(until=lambda: not training.running, at_most=SECONDS)
    assert not training.running


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--refuse", "The label is missing; give another"), "The training failed: The label is missing; give another"),
        (("--break-down",), "The training failed: The training ended with code 1: RuntimeError: no such thing"),
    ],
)
def test_a_training_that_fails_says_why_in_the_panel(start, waits, model, options, said):
    user = start(model, options=options)

    user.train(True)
    user.wait()

    assert said in user.said
    assert user.ui.trainButton.enabled
    assert user.application.texts("error") == []


def test_one_label_of_several_has_a_bundle_of_its_own(start, waits, tmp_path, monkeypatch):
    import qt

    from nnunet_folders import write_nnunet_folder

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: "somewhere")
    folder = write_nnunet_folder(tmp_path / "model", labels={"background": 0, "GTVp": 1, "GTVn": 2}, folds=("all",))
    user = start(folder, options=("--seconds", "0"))
    user.ui.modelSelector.setCurrentIndex(user.ui.modelSelector.findText("model: GTVn"))

    user.train(True, True)

    assert f"The bundle will be '{tmp_path / 'model-GTVn-bundle'}'." in user.asked[1]
    assert user.training.bundle == tmp_path / "model-GTVn-bundle"


def test_missing_cases_are_asked_for_and_given_to_the_command(start, waits, model, tmp_path, monkeypatch):
    import qt

    from context_propagation.mrml import fusion_training

    shutil.rmtree(tmp_path / "with a space" / "nnUNet_raw")
    shutil.rmtree(tmp_path / "with a space" / "nnUNet_preprocessed")
    chosen = iter([str(tmp_path / "images"), str(tmp_path / "labels")])
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: next(chosen))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(tmp_path / "splits_final.json"))
    told = []

    def remember(bundle, arguments):
        told.append(arguments)
        raise fusion_training.UserInputError("not started")

    monkeypatch.setattr(fusion_training, "FusionTraining", remember)
    user = start(model, options=())

    user.train(True, True, True)

    first, second, third = user.asked
    assert str(tmp_path / "with a space" / "nnUNet_raw" / DATASET) in first
    assert "Choose a folder of images that the model never saw" in first
    assert "splits_final.json" in second
    assert "Train the fusion network of" in third
    (arguments,) = told
    named = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert (named["--images"], named["--labels"]) == (str(tmp_path / "images"), str(tmp_path / "labels"))
    assert named["--folds"] == str(tmp_path / "splits_final.json")
    assert user.application.texts("error") == ["not started"]


@pytest.mark.quick(chosen="")
@pytest.mark.parametrize("chosen", ["mine", ""])
def test_where_nothing_can_be_written_beside_the_model_another_folder_is_asked_for(
    start, waits, model, tmp_path, monkeypatch, chosen
):
    import qt

    elsewhere = tmp_path / chosen
    elsewhere.mkdir(exist_ok=True)
    real, asked = os.access, []

    def as_on_a_share(path, mode):
        return Path(path) != model.parent and real(path, mode)

    def choose(_parent, title):
        asked.append(title)
        return str(elsewhere) if chosen else ""

    monkeypatch.setattr(os, "access", as_on_a_share)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", choose)
    user = start(model, options=("--seconds", "0"))

    user.train(*([True] if chosen else []))

    assert asked == [f"'{model.parent}' cannot be written to: another folder for the bundle"]
    if chosen:
        assert user.training.bundle == elsewhere / f"{model.name}-bundle"
        user.wait()
        assert (elsewhere / f"{model.name}-bundle").is_dir()
    else:
        assert user.training is None


@pytest.mark.parametrize("given_up", ["question", "images", "labels"])
def test_cases_that_are_not_chosen_begin_nothing(start, waits, model, tmp_path, monkeypatch, given_up):
    import qt

    shutil.rmtree(tmp_path / "with a space" / "nnUNet_raw")
    chosen = iter(["" if given_up == "images" else "somewhere", ""])
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: next(chosen))
    user = start(model)

    user.train(given_up != "question")

    assert len(user.asked) == 1
    assert user.training is None


def test_missing_packages_are_asked_for_before_it_begins(start, waits, model, monkeypatch):
    from packaging.requirements import Requirement

    from context_propagation.gui.packages.installation_plan import TRAINING_REQUIREMENTS, MissingPackage
    from context_propagation.gui.packages.installation_record import InstallationRecord

    class Installer:
        """pip itself is run in test_dependencies."""

        wanted = (MissingPackage(Requirement("joblib>=1.5"), None),)

        def missing(self, *files):
            return self.wanted if TRAINING_REQUIREMENTS in files else ()

        def install(self, plan, progress):
            Installer.wanted = ()
            return InstallationRecord({}, {})

    user = start(model, options=("--refuse", "so far"))
    monkeypatch.setattr(user.panel.packages, "_installer_of", Installer)

    user.train(True, False)
    assert "joblib>=1.5 (not installed)" in user.asked[1]
    assert user.training is None

    user.train(True, True)
    user.wait()
    assert Installer.wanted == ()
    assert user.said == "The training failed: so far"


# ---- with the command itself


@pytest.mark.long
def test_a_training_is_cancelled_and_goes_on_and_its_bundle_is_chosen(start, model):
    user = start(
        model, options=("--start", "fresh", "--epochs", "40", *SHORT[2:])
    )  # so many that the panel sees this stage on any machine
    user.train(True)
    user.wait_for("Training: networks")
    click(user.ui.stopTrainingButton)
    user.wait()
    examples = bundle_of(model).with_name(f"{model.name}-bundle.training") / "fold_0" / "examples"
    kept = {path: path.stat().st_mtime_ns for path in examples.iterdir()}

    user.train(True)
    user.wait_for("Training: networks")
    assert {path: path.stat().st_mtime_ns for path in examples.iterdir()} == kept
    user.wait()

    assert "trained on 2 cases, validated on 1; DSC of far slices" in user.said
    assert "by the no-edit control: the edit itself gains" in user.said
    assert user.chosen == bundle_of(model)
    assert "whole volume (trained for this model)" in user.ui.modelDescription.text
    assert user.application.texts("error") == []


@pytest.mark.long
def test_a_bundle_is_not_chosen_where_the_user_has_chosen_another_model_meanwhile(start, model, effect_bundle):
    user = start(model, effect_bundle)
    user.train(True)
    user.choose(effect_bundle)
    user.wait()

    assert user.chosen == effect_bundle
    assert bundle_of(model) in user.listed
    assert "It is in the list of models." in user.said


@pytest.mark.long
def test_what_the_command_refuses_is_shown_in_one_line(start, model, tmp_path):
    (tmp_path / "with a space" / "nnUNet_raw" / DATASET / "imagesTr" / "case_1_0000.nii.gz").unlink()
    user = start(model)

    user.train(True)
    user.wait()

    assert user.said.startswith("The training failed: The label '")
    assert "has no image 'case_1'" in user.said
    assert "\n" not in user.said
