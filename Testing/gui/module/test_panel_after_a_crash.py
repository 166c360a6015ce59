"""What was drawn before a crash, offered again."""

from types import SimpleNamespace

import numpy as np
import pytest

from as_a_user import process_events, settle
from panel_user import a_slice

SHAPE = (16, 16, 16)


@pytest.fixture
def crashed(ready, module):
    """One slice was propagated, one confirmed and one drawn when Slicer died; its journal, the segment as it was."""
    from dead_slicer import leave_behind

    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    ready.shared.logic.confirm_slices([10], "axial")
    ready.redraw(4, a_slice())
    left = leave_behind(ready.shared.logic)
    mask = ready.mask()
    module.scene.Clear()
    settle()
    return SimpleNamespace(file=left, mask=mask)


def test_what_was_drawn_before_a_crash_comes_back_with_one_yes(crashed, user, add_ct, module):
    user.panel.update()
    assert "Segments from before Slicer stopped: 1, the last of 20" in user.ui.journalLabel.text
    module.answers = [True]

    user.predict(add_ct())

    (question,) = module.texts("question")
    assert "Slicer stopped before the work of 20" in question
    assert "(drawn slices: 2, confirmed: 1). Bring it back?" in question
    assert np.array_equal(user.mask(), crashed.mask)
    assert user.rows() == [("axial", "4", "redrawn"), ("axial", "7", "propagated"), ("axial", "10", "confirmed")]
    assert user.ui.stateLabel.text.startswith("Brought back: the segment is as it was at 20")
    assert not crashed.file.exists()
    assert user.ui.journalLabel.text == ""
    assert not user.ui.forgetJournalButton.visible


def test_no_leaves_what_was_kept_where_it_is_and_is_not_asked_again(crashed, user, add_ct, module):
    module.answers = [False]
    user.predict(add_ct())
    assert not np.array_equal(user.mask(), crashed.mask)
    module.answers = []

    user.click("predictButton")
    user.wait()

    assert len(module.texts("question")) == 1
    assert crashed.file.exists()
    module.answers = [False]
    user.ui.segmentSelector.setCurrentNode(None)  # another, new segment: asked again
    user.click("predictButton")
    user.wait()
    assert len(module.texts("question")) == 2
    user.click("forgetJournalButton")
    assert not crashed.file.exists()
    assert not user.ui.forgetJournalButton.visible


def test_a_segment_that_was_drawn_otherwise_is_left_alone_which_is_said(crashed, user, add_ct, module):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    ct = add_ct()
    stranger = np.zeros(SHAPE, bool)
    stranger[2:9, 3:6, 3:6] = True
    segmentation = add_segmentation(module.scene, ct, "Clinic")
    add_segment_from_mask(segmentation, stranger, ct, "GTV")
    user.ui.segmentSelector.setCurrentNode(segmentation)
    module.answers = [True]

    user.predict(ct)

    assert "is left alone: to bring the work back, choose a new, empty segment" in module.texts("question")[0]
    assert np.array_equal(user.mask(), stranger)
    assert crashed.file.exists()


def test_with_another_model_the_segment_comes_back_and_its_slices_are_kept(crashed, user, base, add_ct, module):
    user.choose_model(base)
    module.answers = [True]

    user.predict(add_ct())

    assert "and this model goes on from it" in module.texts("question")[0]
    assert np.array_equal(user.mask(), crashed.mask)
    assert user.rows() == [("axial", "4", "kept"), ("axial", "7", "kept"), ("axial", "10", "kept")]


def test_what_is_drawn_in_the_segment_editor_is_kept_by_itself_and_gone_at_a_good_end(ready, module, monkeypatch):
    from context_propagation.gui.work.journal_choice import journal_folder
    from context_propagation.gui.work.shared import release

    ready.panel.exit()  # the Segment Editor is shown
    ready.shared.keeper._timer.interval = 1
    ready.redraw(7, a_slice())
    process_events(until=lambda: list(journal_folder().glob("*.json")), at_most=10)
    assert len(list(journal_folder().glob("*.json"))) == 1

    release()

    assert not journal_folder().exists()


def test_unticked_nothing_is_kept(ready):
    from context_propagation.gui.work.journal_choice import journal_folder

    ready.redraw(7, a_slice())
    ready.shared.logic.keep_drawn()
    assert len(list(journal_folder().glob("*.json"))) == 1

    ready.ui.journalBox.setChecked(False)
    ready.redraw(4, a_slice())
    ready.shared.logic.keep_drawn()

    assert not journal_folder().exists()
    ready.ui.journalBox.setChecked(True)
    ready.shared.logic.keep_drawn()
    assert len(list(journal_folder().glob("*.json"))) == 1
