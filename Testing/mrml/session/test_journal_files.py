"""What is kept in files while someone works, and when it goes."""

import json
import os
import time

import numpy as np

from context_propagation.core.session.journal_folder import JournalFolder
from several_slicers import SHAPE, files, own, plane


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
