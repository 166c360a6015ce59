"""A start of "Propagate Edit" loads, checks and predicts beside the user, and leaves a drawn segment as it is."""

import re
import threading

import numpy as np
import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from as_a_user import click
from effect_bench import DRAWN, EFFECT, SLICE, ball


def test_the_effect_is_registered_at_start_up_under_its_name(bench):
    assert EFFECT in bench.editor.effects


def test_start_shows_its_stages_and_leaves_a_segment_as_it_is(bench):
    bench.open_segment(ball())
    assert bench.status == "Press Start before you redraw."
    seen = []
    bench.runner.listeners.append(lambda job: seen.append(bench.status) if job else None)

    click(bench.widgets.start)
    assert not bench.widgets.cancel.isHidden()
    assert not bench.widgets.start.enabled
    bench.wait()

    stages = [re.split("[:\n]", text)[0] for text in seen]
    assert list(dict.fromkeys(stages)) == ["Load model", "Check volumes", "Predict"]
    assert np.array_equal(bench.voxels(), ball())
    assert bench.status == "Redraw a slice with any tool; it is found by itself."
    assert bench.widgets.start.text == "Start again"


def test_an_empty_segment_is_filled_with_the_prediction(bench):
    bench.open_segment()

    bench.start()

    predicted = bench.voxels()
    assert np.array_equal(predicted, bench.logic.session.segmentation)
    assert predicted.any()
    assert f"Filled with the prediction ({predicted.sum()} voxels)." in bench.status
    bench.undo()
    assert not bench.voxels().any()


@pytest.mark.parametrize("keeps", [True, False])
def test_start_again_takes_the_segment_as_it_is_now_and_asks_what_becomes_of_drawn_slices(started, keeps):
    started.paint(DRAWN)
    started.application.answers = [keeps]

    started.start()

    (question,) = started.application.texts("question")
    assert f"These slices were drawn or confirmed before: axial {SLICE}. Keep them as they are?" in question
    assert "Redraw a slice" in started.status
    assert np.array_equal(started.voxels(), ball() | DRAWN)
    assert [kept.index for kept in started.logic.kept] == ([SLICE] if keeps else [])


def test_the_memory_is_told_before_the_image_is_cached(bench):
    told = []

    def listen(job):
        if job is not None and "Memory: needs" in bench.status:
            told.append(job.operation.title)

    bench.open_segment(ball())
    bench.runner.listeners.append(listen)
    bench.start()

    assert "Predict" in told
    assert bench.logic.memory.peak_bytes >= bench.logic.memory.kept_bytes > 0


def test_what_does_not_fit_into_memory_is_refused_and_the_session_goes_on(started, monkeypatch):
    monkeypatch.setattr("context_propagation.core.session.memory_forecast.available_bytes", lambda device: -(2**40))
    session = started.logic.session

    started.start()

    (error,) = started.application.texts("error")
    assert "Caching the target needs" in error
    assert started.logic.session is session
    started.paint(DRAWN)
    assert "Redrawn: axial" in started.status


@pytest.fixture
def threads(monkeypatch):
    """Each long part, and the names of the threads that it ran on."""
    from context_propagation.core.bundle import bundle
    from context_propagation.core.session.session import Session

    ran_on = {}

    def note(part):
        ran_on.setdefault(part, set()).add(threading.current_thread().name)

    def noted(part, run):
        return lambda *args, **options: (note(part), run(*args, **options))[1]

    for owner, name in ((bundle, "load_model"), (Session, "set_image"), (Session, "preview")):
        monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
    hook = register_module_forward_pre_hook(lambda network, inputs: note("network"))
    yield ran_on
    hook.remove()


def test_what_takes_long_runs_on_the_worker_s_thread_and_never_on_the_user_s(bench, threads):
    """How long the user's thread is held nevertheless, benchmarks/main_thread.py and Testing/app measure."""
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    bench.propagate()
    bench.apply()

    assert set(threads) == {"load_model", "set_image", "preview", "network"}
    assert set.union(*threads.values()) == {"context-propagation"}
