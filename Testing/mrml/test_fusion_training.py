"""A training in a process of its own: told, waited for, cancelled, ended with the program that started it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml import fusion_training
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from nnunet_layout import write_layout
from other_processes import is_alive, waited_for

SECONDS = 240
STARTER = """
import sys, time
from context_propagation.mrml import fusion_training
fusion_training.COMMAND = "waiting_training"
training = fusion_training.start_training(sys.argv[1], options=("--seconds", "600"))
print(training._process.pid, flush=True)
time.sleep(600)
"""


def with_all_below(pid):
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "my model"
    found.mkdir()
    return found


@pytest.fixture
def start(folder, monkeypatch):
    """Start a training whose jobs only wait."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(fusion_training, "COMMAND", "waiting_training")
    trainings = []

    def _start(*options, **named):
        trainings.append(ContextPropagationLogic.train_fusion(folder, options=options, **named))
        return trainings[-1]

    yield _start
    for training in trainings:
        training.cancel()
        assert waited_for(lambda one=training: not one.running)


def begun(folder, training):
    """Once two jobs run: all processes."""
    assert waited_for(lambda: len(list(folder.glob("process-*"))) == 2 or not training.running)
    return with_all_below(training._process.pid)


def test_it_says_how_far_it_is_and_what_came_of_it(start, folder):
    training = start("--seconds", "0.8")

    assert waited_for(lambda: 0 < training.standing.fraction < 1 or not training.running)
    assert training.standing.stage == "simulated edits"
    assert training.standing.seconds_left < 60
    trained = training.wait(SECONDS)

    assert trained.path == folder.with_name("my model-bundle")
    assert (trained.training_cases, trained.gain) == (4, 0.25)


@pytest.mark.long
def test_cancelled_it_ends_with_all_its_processes_and_started_again_goes_on(start, folder):
    first = start("--seconds", "600")
    processes = begun(folder, first)
    assert len(processes) > 2
    with pytest.raises(TimeoutError):
        first.wait(0.01)

    first.cancel()
    with pytest.raises(Cancelled):
        first.wait(SECONDS)

    assert waited_for(lambda: not any(map(is_alive, processes)))
    assert list(folder.glob("done-*")) == []
    assert not folder.with_name("my model-bundle").exists()
    for number in range(4):
        (folder / f"done-{number}").touch()
    assert start("--seconds", "0").wait(SECONDS).training_cases == 4


@pytest.mark.long
def test_one_that_does_not_end_when_asked_is_ended(start, folder, monkeypatch):
    monkeypatch.setattr(fusion_training, "SECONDS_TO_END", 0.0)
    training = start("--seconds", "600")
    processes = begun(folder, training)

    training.cancel()

    assert waited_for(lambda: not training.running and not any(map(is_alive, processes)))
    with pytest.raises(Cancelled):
        training.wait()


@pytest.mark.skipif(os.name == "nt", reason="PythonSlicer is a shell script here")
def test_in_slicer_its_own_python_runs_it_below_a_launcher_and_cancel_ends_both(start, folder, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    launcher = tmp_path / "bin" / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(launcher.parent), os.environ["PATH"]]))
    training = start("--seconds", "600")
    processes = begun(folder, training)
    assert str(launcher) in processes[0].cmdline()

    training.cancel()
    with pytest.raises(Cancelled):
        training.wait(SECONDS)

    assert waited_for(lambda: not any(map(is_alive, processes)))


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="kills by a signal")
def test_it_ends_with_a_program_that_is_killed(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(starter.stdout.readline())
        assert waited_for(lambda: len(list(folder.glob("process-*"))) == 2)
        processes = with_all_below(pid)
    finally:
        starter.kill()
        starter.wait()
        starter.stdout.close()

    assert waited_for(lambda: not any(map(is_alive, processes)))


def test_what_it_refuses_is_raised_in_its_own_words(start):
    with pytest.raises(UserInputError) as caught:
        start("--refuse", "The label 'GTV' is missing; give another").wait(SECONDS)
    assert str(caught.value) == "The label 'GTV' is missing; give another"


def test_one_that_breaks_down_says_with_which_code_and_its_last_words(start):
    with pytest.raises(UserInputError) as caught:
        start("--break-down").wait(SECONDS)
    assert str(caught.value).startswith("The training ended with code 1: RuntimeError: no such thing;")


def test_what_is_named_is_handed_on_and_the_rest_is_left_to_the_command(folder, monkeypatch):
    told = []
    monkeypatch.setattr(
        fusion_training, "FusionTraining", lambda bundle, arguments: told.append((bundle, " ".join(arguments)))
    )

    fusion_training.start_training(folder)
    fusion_training.start_training(folder, 2, "i", "l", "f", folder / "b", "cpu", ("--jobs", 3))

    assert told == [
        (folder.with_name("my model-bundle"), f"--model {folder} --device auto"),
        (
            folder / "b",
            f"--model {folder} --label 2 --images i --labels l --folds f --output {folder / 'b'} --device cpu --jobs 3",
        ),
    ]


@pytest.mark.long
def test_a_cancelled_training_goes_on_where_it_was(tmp_path):
    model = write_layout(tmp_path / "with a space", cases=5)
    options = ("--epochs", "3", "--edits-per-case", "1", "--jobs", "1", "--device", "cpu")
    work = Path(f"{model}-bundle.training")
    finished, kind = work / "general" / "examples_0", "case_*.general.safetensors"
    first = ContextPropagationLogic.train_fusion(model, options=options)
    assert waited_for(lambda: len(list(finished.glob(kind))) >= 3 or not first.running)

    first.cancel()
    with pytest.raises(Cancelled):
        first.wait(SECONDS)
    kept = {path: path.stat().st_mtime_ns for path in finished.glob(kind)}
    assert len(kept) >= 3
    assert not Path(f"{model}-bundle").exists()
    assert list(model.parent.rglob(".context-propagation-*")) == []

    second = ContextPropagationLogic.train_fusion(model, options=options)
    assert waited_for(lambda: second.standing.stage == "networks" or not second.running)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    trained = second.wait(SECONDS)

    assert (trained.training_cases, trained.validation_cases) == (3, 1)
    assert not work.exists()
    made = json.loads((trained.path / "bundle.json").read_text())["provenance"]
    assert made["folds_file"] == "splits_final.json"
