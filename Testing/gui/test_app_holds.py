import sys
from pathlib import Path

import pytest
import vtk

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
from app_holds import INTO_QT, OwnTime, is_ours

SHIPPED = Path(__file__).parents[2] / "SlicerContextPropagation"

OURS = """
def work(clock, seconds):
    clock.now += seconds

def look(clock, notifier):
    work(clock, 2)
    notifier.Modified()
    work(clock, 1)
"""


WRITERS = """
def mask(clock):
    clock.now += 4

def modify(clock, write):
    mask(clock)
    write()

def other(clock, write):
    modify(clock, write)
    write()
"""


SLICERS = """
def loadUI(clock):
    clock.now += 7
"""


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ours():
    names = {}
    exec(compile(OURS, "/slicer/context_propagation/gui/look.py", "exec"), names)
    return names


def spent(clock, measured):
    own = OwnTime(clock)
    own.started()
    try:
        measured()
    finally:
        own.stopped()
    return own


def work_elsewhere(clock, seconds):
    clock.now += seconds


def test_the_time_in_our_functions_is_told_apart_from_that_of_others(clock, ours):
    def measured():
        work_elsewhere(clock, 3)
        ours["work"](clock, 2)

    own = spent(clock, measured)

    assert own.seconds == 2
    assert own.functions == {"gui/look.py work": 2}


def test_what_a_vtk_object_does_when_ours_calls_it_is_not_ours_but_what_it_calls_of_ours_is(clock, ours):
    notifier, heard = vtk.vtkObject(), []

    def answer(caller, event):
        work_elsewhere(clock, 50)
        ours["work"](clock, 10)
        heard.append(event)

    notifier.AddObserver("ModifiedEvent", answer)

    own = spent(clock, lambda: ours["look"](clock, notifier))

    assert heard == ["ModifiedEvent"]
    assert own.seconds == 2 + 10 + 1
    assert own.slicer_calls == {"Modified": 50}
    assert own.functions == {"gui/look.py look": 3, "gui/look.py work": 10}


def test_what_a_function_of_slicers_does_is_not_ours(clock, ours):
    names = {}
    exec(compile(SLICERS, "/opt/Slicer/bin/Python/slicer/util.py", "exec"), names)
    ours["load"] = names["loadUI"]
    exec(compile("def setup(clock): load(clock); clock.now += 1", "/a/ContextPropagation.py", "exec"), ours)

    own = spent(clock, lambda: ours["setup"](clock))

    assert own.seconds == 1
    assert own.slicer_calls == {"loadUI": 7}


def test_an_error_in_ours_ends_its_time(clock, ours):
    def measured():
        with pytest.raises(TypeError):
            ours["work"](clock, "a while")
        work_elsewhere(clock, 5)

    assert spent(clock, measured).seconds == 0


def test_only_files_of_the_extension_are_ours():
    assert is_ours("/a/qt-scripted-modules/context_propagation/gui/panel.py")
    assert not is_ours("/a/qt-scripted-modules/SegmentEditorEffects/AbstractScriptedSegmentEditorEffect.py")


def test_a_call_into_slicers_qt_is_not_ours_in_the_functions_that_are_one(clock):
    names = {}
    exec(compile(WRITERS, "/slicer/context_propagation/mrml/writing/effect_writer.py", "exec"), names)

    own = spent(clock, lambda: names["other"](clock, lambda: work_elsewhere(clock, 30)))

    assert own.slicer_calls == {"writing/effect_writer.py modify": 30}
    assert own.seconds == 34, "its own helper's, and a call of a function that is not listed"


def test_the_functions_that_are_one_call_into_slicers_qt_exist():
    for place in INTO_QT:
        file, function = place.split()
        found = list((SHIPPED / "context_propagation").rglob(file.split("/")[1]))
        assert [f.parent.name for f in found] == [file.split("/")[0]]
        assert f"def {function}(" in found[0].read_text()


def test_the_time_that_measuring_takes_is_nobodys(ours):
    class CostlyClock(Clock):
        def __call__(self):
            self.now += 100  # as if each look at it took so long
            return super().__call__()

    clock = CostlyClock()

    own = spent(clock, lambda: ours["work"](clock, 2))

    assert own.seconds == 2 + 100, "its work, and the look at the clock that ends it"
