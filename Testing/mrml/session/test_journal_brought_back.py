"""What was drawn is brought back after the program died, wherever it died."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from several_slicers import SHAPE, bring_back, files, only, own, plane


def test_after_a_crash_confirmed_slices_are_confirmed_again_and_those_undone_are_not(slicers, edited, draw):
    edited.confirm_slices([2], plane(edited))
    edited.confirm_slices([14], plane(edited))
    edited.undo()
    slicers.die(edited)
    logic = slicers.start()

    offer = only(logic.check().kept)
    bring_back(logic)

    assert (offer.drawn_slices, offer.confirmed_slices) == (3, 1)

    assert [[one.index for one in done.confirmed] for done in logic.history] == [[], [], [2]]
    before = logic.segment_mask()[2]
    logic.propagate()
    assert np.array_equal(logic.segment_mask()[2], before)


def test_after_a_crash_segment_history_and_drawing_are_back_voxel_by_voxel(slicers, edited, draw):
    mask, known, history = own(edited), edited.propagation.known, edited.history
    slicers.die(edited)
    logic = slicers.start()

    offer = only(logic.check().kept)
    bring_back(logic)

    assert offer.drawn_slices == 3
    assert offer.fits
    assert not offer.not_replayed
    assert own(logic).is_same(mask)
    assert logic.propagation.known.is_same(known)
    assert [[e.index for e in done.edits] for done in logic.history] == [
        [e.index for e in done.edits] for done in history
    ]
    assert [edit.index for edit in logic.redrawn()] == [12]
    assert np.array_equal(logic.redrawn()[0].mask, draw(12))
    done = logic.propagate()
    assert [edit.index for edit in done.edits] == [12]
    assert all(np.array_equal(logic.segment_mask()[index], draw(index)) for index in (5, 9, 12))


PROGRAM = """
    import os, signal, sys
    import numpy as np
    from pathlib import Path
    from conftest import Case
    from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
    from loaded_models import quick_model

    case, folder, masks = Case(shape=(16, 16, 16)), Path(sys.argv[1]), np.load(sys.argv[3])
    logic = ContextPropagationLogic(case.scene)
    logic.journal.folder = folder
    logic.loaded = quick_model(Path(sys.argv[2]))
    logic.select([case.volume])
    logic.predict()
    logic.edit_slice(5, masks[5], case.source.plane_of_axis[0])
    logic.propagate()
    logic.edit_slice(9, masks[9], case.source.plane_of_axis[0])
    logic.keep_drawn()
    np.save(sys.argv[4], logic.segment_mask())
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.long  # a process of its own
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_a_killed_process_kept_is_brought_back(slicers, folder, bundle, draw, tmp_path):
    masks, result = tmp_path / "masks.npy", tmp_path / "result.npy"
    np.save(masks, np.stack([draw(index) for index in range(16)]))
    mrml = Path(__file__).parents[1]
    paths = os.pathsep.join([str(mrml), str(mrml.parent / "examples"), *sys.path])
    given = [str(path) for path in (folder, bundle, masks, result)]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), *given], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    logic = slicers.start()

    bring_back(logic)

    assert np.array_equal(logic.segment_mask(), np.load(result))
    assert [edit.index for edit in logic.redrawn()] == [9]


def test_a_scene_that_was_saved_on_the_way_goes_on_to_where_slicer_stopped(slicers, draw, tmp_path):
    first = slicers.start()
    first.predict()
    first.edit_slice(5, draw(5), plane(first))
    first.propagate()
    halfway = first.segment_mask()
    first.edit_slice(9, draw(9), plane(first))
    first.propagate()
    mask = own(first)
    slicers.die(first)
    logic = slicers.start()
    logic.select([logic.case.volume], logic.case.segmentation, logic.case.add(halfway))

    bring_back(logic)

    assert own(logic).is_same(mask)
    assert [edit.index for done in logic.history for edit in done.edits] == [5, 9]


def test_with_another_model_the_segment_is_back_and_its_drawn_slices_stay_as_drawn(slicers, edited, base, draw):
    mask = own(edited)
    slicers.die(edited)
    logic = slicers.start(model=base)

    offer = only(logic.check().kept)
    bring_back(logic)

    assert "These edits were made with" in offer.not_replayed
    assert own(logic).is_same(mask)
    assert sorted(edit.index for edit in logic.kept) == [5, 9, 12]
    logic.edit_slice(7, draw(7), plane(logic))
    logic.propagate()
    assert all(np.array_equal(logic.segment_mask()[index], draw(index)) for index in (5, 7, 9, 12))


@pytest.mark.parametrize("moved", [False, True], ids=["as it lay", "under transforms"])
def test_a_segment_on_a_finer_grid_of_its_own_is_back_on_that_grid(slicers, make_case, draw, rotate, moved):
    case = make_case(shape=SHAPE)
    if moved:
        together = case.transform(rotate(30, (1, 2, 3)))
        for node in (case.volume, case.segmentation):
            node.SetAndObserveTransformNodeID(together.GetID())
    fine = np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = -0.25
    first = slicers.start(case=case)
    rng = np.random.default_rng(7)
    segment_id = case.add_on_grid(fine, (32, 32, 32), lambda kji: rng.random(kji.shape[1]) > 0.5)
    first.select([case.volume], case.segmentation, segment_id)
    first.predict()
    first.edit_slice(5, draw(5), plane(first))
    first.propagate()
    first.edit_slice(9, draw(9), plane(first))
    first.keep_drawn()
    mask, grid = own(first), first.propagation.grid
    slicers.die(first)
    logic = slicers.start()

    bring_back(logic)

    assert mask.shape == (32, 32, 32)
    assert mask.is_same(own(logic))
    assert logic.propagation.grid.is_same(grid)
    assert [edit.index for edit in logic.redrawn()] == [9]


def test_other_segments_of_a_shared_layer_stay_as_they_are(slicers, make_case, draw, draw_ellipsoid):
    first = slicers.start()
    first.predict()
    first.edit_slice(5, draw(5), plane(first))
    first.propagate()
    mask = own(first)
    slicers.die(first)
    case = make_case(shape=SHAPE)
    organ = draw_ellipsoid(SHAPE, (8, 8, 8), (5, 5, 5))
    empty, other = case.add(np.zeros(SHAPE, bool)), case.add(organ, "Organ")
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    logic = slicers.start(case=case)
    logic.select([case.volume], case.segmentation, empty)

    bring_back(logic)

    assert own(logic).is_same(mask)
    assert np.array_equal(case.read(other), organ)


def test_what_was_brought_back_is_kept_on_and_offered_after_a_second_crash(slicers, edited, folder):
    mask = own(edited)
    slicers.die(edited)
    second = slicers.start()
    second.bring_back(only(second.check().kept))  # and dies before anything is replayed
    slicers.die(second)
    third = slicers.start()

    bring_back(third)

    assert own(third).is_same(mask)
    assert len(files(folder)) == 1


def test_undo_is_kept_too(slicers, edited, draw):
    edited.propagate()
    edited.undo()
    mask = own(edited)
    slicers.die(edited)
    logic = slicers.start()

    bring_back(logic)

    assert own(logic).is_same(mask)
    assert [edit.index for done in logic.history for edit in done.edits] == [5, 9]
    assert [edit.index for edit in logic.redrawn()] == [12]


def test_a_stroke_after_the_scene_was_saved_is_kept_with_all_that_was_done_before(
    slicers, edited, folder, draw, tmp_path
):
    node = edited.selection.segmentation_node
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "saved.seg.nrrd"))
    edited.propagate()
    assert node.GetStorageNode().WriteData(node)
    edited.keep_drawn()
    edited.edit_slice(3, draw(3), plane(edited))
    edited.keep_drawn()
    mask = own(edited)
    slicers.die(edited)
    logic = slicers.start()

    bring_back(logic)

    assert own(logic).is_same(mask)
    assert [edit.index for done in logic.history for edit in done.edits] == [5, 9, 12]
    assert [edit.index for edit in logic.redrawn()] == [3]


@pytest.mark.parametrize("seed", range(3))
def test_wherever_slicer_dies_what_comes_back_is_what_was_there(slicers, draw, seed):
    rng = np.random.default_rng(seed)
    logic = slicers.start()
    logic.predict()
    for _ in range(8):
        _act(logic, rng, draw)
    logic.keep_drawn()
    mask, known = own(logic), logic.propagation.known
    history = [[edit.index for edit in done.edits] for done in logic.history]
    slicers.die(logic)
    after = slicers.start()

    bring_back(after)

    assert own(after).is_same(mask)
    assert after.propagation.known.is_same(known)
    assert [[edit.index for edit in done.edits] for done in after.history] == history


def _act(logic, rng, draw):
    """Something that a user may do, and that is possible now."""
    propagation = logic.propagation
    can = {"draw": True, "propagate": bool(logic.redrawn()), "undo": propagation.can_undo, "redo": propagation.can_redo}
    action = rng.choice([name for name, possible in can.items() if possible])
    if action == "draw":
        index = int(rng.integers(2, 14))
        logic.edit_slice(index, draw(index), plane(logic))
        return
    with suppress(UserInputError):  # an undo or redo with a stroke since
        getattr(logic, action)()
