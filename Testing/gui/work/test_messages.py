"""What the user is asked, also where Slicer answers in their place."""

import pytest


@pytest.mark.parametrize("answer", [True, False])
def test_trust_is_what_the_user_says(application, answer):
    from context_propagation.gui.work.messages import trusted

    application.answers = [answer]

    assert trusted("Do you trust it?") is answer
    assert application.texts("question") == ["Do you trust it?"]


def test_where_slicer_answers_by_itself_nothing_is_trusted(application, monkeypatch):
    import slicer

    from context_propagation.gui.work.messages import trusted

    monkeypatch.setattr(type(slicer.app), "testingEnabled", staticmethod(lambda: True))

    assert not trusted("Do you trust it?")
    assert application.texts("question") == []


def test_what_an_action_raises_is_told_and_the_widgets_are_brought_in_step_all_the_same(application):
    from context_propagation.core.errors import UserInputError
    from context_propagation.gui.work.messages import guarded

    def fail():
        raise UserInputError("No model is chosen; choose one")

    done = []
    guarded(fail, lambda: done.append(True))()

    assert application.texts("error") == ["No model is chosen; choose one"]
    assert done == [True]


def test_of_an_error_that_nobody_foresaw_its_place_is_kept_for_a_problem_report_and_not_its_words(application):
    from context_propagation.gui.work.last_messages import MESSAGES
    from context_propagation.gui.work.messages import guarded

    def fail():
        raise RuntimeError("the scan of Roe is odd")

    guarded(fail, lambda: None)()

    assert MESSAGES[-1].startswith("RuntimeError at ")
    assert MESSAGES[-1].endswith(" fail")
    assert "Roe" not in MESSAGES[-1]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("'Roe, left' was edited", "'…' was edited"),
        ('no segment "A" in "B"', "no segment '…'"),
        ("'O'Roe left' was edited", "'…' was edited"),
        ("see /data/Jane Anne Roe/plan.nrrd: damaged", "see … damaged"),
        ("two lines\nof '/data/Roe'", "two lines\nof '…'"),
        ("see /home/roe/plan.nii.gz: damaged", "see … damaged"),
        (r"C:\Users\Roe\plan.nrrd is missing", "… is missing"),
        ("Slices changed: 9; 282 voxels changed.", "Slices changed: 9; 282 voxels changed."),
    ],
)
def test_names_and_paths_are_left_out_of_what_is_kept(told, kept):
    from context_propagation.gui.work.last_messages import without_names

    assert without_names(told) == kept
