"""What was drawn is kept in files while someone works, and brought back after the program died."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.journal_folder import JournalFolder
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import own_segment
from loaded_models import quick_model

SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    from nnunet_folders import write_nnunet_folder

    return write_nnunet_folder(tmp_path_factory.mktemp("base"), seed=1, spacing=(2.5, 1.1, 0.8), features=(2, 4, 4))


@pytest.fixture(scope="module")
def bundle(base, tmp_path_factory):
    from bundles import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle", base, channels=4, width=0.5, neighbours=1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def draw(draw_ellipsoid):
    return lambda index: draw_ellipsoid(SHAPE, (index, 9, 6), (1, 4, 3))[index]


class Slicers:
    """Programs on one computer, each with a scene of its own, which share the folder."""

    def __init__(self, make_case, model, folder):
        self.make_case, self.model, self.folder = make_case, model, folder
        self.running = []

    def start(self, model=None, case=None):
        """A logic with an image and a new, empty segment."""
        case = case or self.make_case(shape=SHAPE)
        logic = ContextPropagationLogic(case.scene)
        logic.journal.folder = self.folder
        logic.loaded = quick_model(model or self.model)
        logic.select([case.volume])
        logic.case = case
        self.running.append(logic)
        return logic

    def die(self, logic):
        """As the system ends a process: the lock is let go of, the files stay."""
        self.running.remove(logic)
        logic.journal._folder._lock.close()
        logic.journal._folder = None
        logic.close()


@pytest.fixture
def slicers(make_case, bundle, folder):
    slicers = Slicers(make_case, bundle, folder)
    yield slicers
    for logic in slicers.running:
        logic.close()


@pytest.fixture
def edited(slicers, draw):
    """Two slices were propagated, a third one was only drawn."""
    logic = slicers.start()
    logic.predict()
    for index in (5, 9):
        logic.edit_slice(index, draw(index), plane(logic))
        logic.propagate()
    logic.edit_slice(12, draw(12), plane(logic))
    logic.keep_drawn()
    return logic


def plane(logic):
    return logic.case.source.plane_of_axis[0]


def own(logic):
    chosen = logic.selection
    return own_segment(chosen.segmentation_node, chosen.segment_id, chosen.volume_nodes[0]).mask


def files(folder):
    return sorted(folder.glob("*.json"))


def only(offers):
    assert len(offers) == 1
    return offers[0]


def bring_back(logic):
    """As the module does after "Yes"."""
    check = logic.check()
    if logic.bring_back(only(check.kept)):
        logic.restore(check=check)
    else:
        logic.predict(check=check)


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


def test_what_another_slicer_that_runs_keeps_is_not_offered(slicers, edited, folder):
    logic = slicers.start()

    assert logic.check().kept == ()
    assert len(files(folder)) == 1

    slicers.die(edited)
    assert len(logic.check().kept) == 1


def test_nothing_is_kept_before_something_is_drawn_nor_after_a_good_end(slicers, folder, edited):
    other = slicers.start()
    other.predict()
    other.keep_drawn()
    assert len(files(folder)) == 1

    edited.close()
    other.close()

    assert not folder.exists()


def test_the_file_holds_no_name_path_or_image(edited, folder, bundle):
    text = files(folder)[0].read_text("utf-8")
    first, session = (json.loads(line) for line in text.splitlines())

    assert session["model"]["path"] == session["segment_id"] == ""
    for word in (str(bundle), bundle.name, edited.selection.segment_id, edited.selection.segmentation_node.GetName()):
        assert word not in text
    assert sorted(first) == ["drawn_since", "format", "image_sha256", "kept_at", "states"]
    assert {name for name, value in session.items() if isinstance(value, list)} == {
        *("image_sha256", "kept", "place", "propagations"),  # no voxels of the image
    }


def test_another_image_is_not_offered_what_was_kept(slicers, edited, make_case):
    slicers.die(edited)
    case = make_case(shape=SHAPE)
    voxels = slicer.util.arrayFromVolume(case.volume) if hasattr(slicer.util, "arrayFromVolume") else None
    voxels[3, 3, 3] += 1
    case.volume.GetImageData().Modified()

    assert slicers.start(case=case).check().kept == ()


def test_a_segment_that_was_drawn_otherwise_is_left_alone_and_the_file_stays(slicers, edited, folder, draw_ellipsoid):
    slicers.die(edited)
    logic = slicers.start()
    stranger = draw_ellipsoid(SHAPE, (8, 8, 8), (3, 3, 3))
    logic.select([logic.case.volume], logic.case.segmentation, logic.case.add(stranger))

    offer = only(logic.check().kept)

    assert not offer.fits
    with pytest.raises(UserInputError, match="Segment 'GTV' is not as it was in that work, and is left alone"):
        logic.bring_back(offer)
    assert np.array_equal(logic.segment_mask(), stranger)
    assert len(files(folder)) == 1


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


def test_a_saved_segmentation_is_no_longer_kept_until_it_is_drawn_on(edited, folder, draw, tmp_path):
    node = edited.selection.segmentation_node
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "saved.seg.nrrd"))
    assert node.GetStorageNode().WriteData(node)

    edited.keep_drawn()
    assert files(folder) == []

    edited.edit_slice(3, draw(3), plane(edited))
    edited.keep_drawn()
    assert len(files(folder)) == 1


def test_a_closed_scene_is_no_longer_kept(edited, folder):
    edited.case.scene.Clear(0)
    edited.close_session()
    edited.keep_drawn()

    assert files(folder) == []


def test_another_segment_and_a_closed_session_do_not_end_what_is_kept(slicers, edited, folder, draw):
    mask = own(edited)
    edited.select([edited.case.volume], edited.case.segmentation, edited.case.add(np.zeros(SHAPE, bool), "Second"))
    edited.predict()
    edited.edit_slice(4, draw(4), plane(edited))
    edited.keep_drawn()
    second = own(edited)
    slicers.die(edited)
    logic = slicers.start()

    back = []
    for offer in logic.check().kept:
        logic.select([logic.case.volume], logic.case.segmentation, logic.case.add(np.zeros(SHAPE, bool), "Again"))
        logic.bring_back(offer)
        back.append(own(logic))

    assert len(files(folder)) == 2
    assert {mask.count, second.count} == {one.count for one in back}
    assert any(mask.is_same(one) for one in back)
    assert any(second.is_same(one) for one in back)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]\n[]",
        lambda text: text.replace("kept work 1", "kept work 9"),
        lambda text: text.replace('"shape": [16', '"shape": [1600'),
        lambda text: "[" * 100_000,
    ],
    ids=["half", "empty", "foreign", "later format", "huge", "nested"],
)
def test_a_file_that_cannot_be_read_is_told_once_stays_and_stops_nobody(slicers, edited, folder, damage, caplog):
    slicers.die(edited)
    file = files(folder)[0]
    file.write_text(damage(file.read_text("utf-8")), "utf-8")
    logic = slicers.start()

    with caplog.at_level(logging.WARNING):
        assert logic.check().kept == () == logic.check().kept

    told = [record.message for record in caplog.records if "in the journal cannot be read" in record.message]
    assert len(told) == 1
    assert "\n" not in told[0]
    assert file in files(folder)
    logic.predict()


def test_a_folder_that_cannot_be_written_is_told_once_and_stops_nobody(slicers, folder, draw, caplog):
    folder.write_text("a file is in the way")
    logic = slicers.start()
    with caplog.at_level(logging.WARNING):
        logic.predict()
        for index in (5, 9):
            logic.edit_slice(index, draw(index), plane(logic))
            logic.keep_drawn()
            logic.propagate()

    assert np.array_equal(logic.segment_mask()[5], draw(5))
    assert len([record for record in caplog.records if "cannot be kept" in record.message]) == 1


def test_a_full_disk_is_told_once_and_the_last_whole_file_stays(edited, folder, draw, monkeypatch, caplog):
    before = files(folder)[0].read_bytes()

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with caplog.at_level(logging.WARNING):
        for index in (2, 3):
            edited.edit_slice(index, draw(index), plane(edited))
            edited.keep_drawn()

    assert [file.read_bytes() for file in files(folder)] == [before]
    assert [r.message for r in caplog.records] == [
        "What is drawn cannot be kept for when Slicer dies: No space left on device"
    ]


def test_forget_deletes_all_but_what_another_slicer_keeps(slicers, edited, folder, draw):
    living = slicers.start()
    living.predict()
    living.edit_slice(5, draw(5), plane(living))
    living.keep_drawn()
    slicers.die(edited)
    logic = slicers.start()
    (folder / "notes.json").write_text("of somebody else")
    assert len(logic.journal.left_behind) == 1

    logic.journal.forget()

    assert logic.journal.left_behind == []
    assert sorted(file.name for file in files(folder)) == [
        f"{living.journal._folder._token}.1.journal.json",
        "notes.json",
    ]


def test_what_is_older_than_thirty_days_is_removed(slicers, edited, folder):
    slicers.die(edited)
    file = files(folder)[0]
    for days, left in ((29, 1), (31, 0)):
        os.utime(file, (time.time() - days * 24 * 3600,) * 2)
        assert len(JournalFolder(folder).left_behind()) == left
    assert not file.exists()


def test_off_nothing_is_kept_and_what_was_left_is_offered_all_the_same(slicers, edited, folder, draw):
    slicers.die(edited)
    logic = slicers.start()
    logic.journal.keeps = False
    assert len(logic.check().kept) == 1

    logic.predict()
    logic.edit_slice(5, draw(5), plane(logic))
    logic.propagate()
    logic.keep_drawn()

    assert len(files(folder)) == 1


def test_an_offer_for_another_volume_is_refused(slicers, edited, make_case):
    slicers.die(edited)
    logic = slicers.start()
    offer = only(logic.check().kept)
    logic.case.volume.GetImageData().Modified()

    with pytest.raises(UserInputError, match="The volume is another one than when this work was offered"):
        logic.bring_back(offer)
    assert not logic.segment_mask().any()


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


def test_with_another_pet_on_the_same_ct_the_edits_are_not_replayed(slicers, edited):
    ct = edited._current.live.image_sha256
    slicers.die(edited)

    (offer,) = slicers.start().journal.found((ct, "of another PET"), SHAPE)

    assert "These edits were made on another image" in offer.not_replayed


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
