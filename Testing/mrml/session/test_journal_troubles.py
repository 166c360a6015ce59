"""Files that cannot be read or written are told of once and stop nobody."""

import logging
from pathlib import Path

import numpy as np
import pytest

from several_slicers import files, plane


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
