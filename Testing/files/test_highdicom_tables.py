"""The tables that highdicom reads at its first object, read without standing in the way of other threads."""

import json
import pkgutil
import threading
import time

import numpy as np
import pytest

tables = pytest.importorskip("highdicom._standard_utils")

from context_propagation.files.highdicom_tables import read_tables  # noqa: E402
from context_propagation.files.image_files import read_source_volume  # noqa: E402
from context_propagation.segmentations.segmentation_files import write_predicted  # noqa: E402
from dicom_files import write_ct_series  # noqa: E402


@pytest.fixture
def unread():
    """As in a new process."""
    read_tables.cache_clear()
    tables.get_module_attribute_map.cache_clear()


def test_other_threads_go_on_while_they_are_read_and_they_are_what_highdicom_reads(unread):
    turns, done = [], threading.Event()

    def go_on():
        while not done.wait(0.001):
            turns.append(time.perf_counter())

    other = threading.Thread(target=go_on)
    other.start()
    begun = time.perf_counter()
    read_tables()
    took = time.perf_counter() - begun
    done.set()
    other.join()

    longest = max(b - a for a, b in zip([begun, *turns], [*turns, begun + took], strict=True))
    assert longest < took / 2, "one call held the lock most of the time"
    assert tables.json is json
    assert tables.get_module_attribute_map.cache_info().misses == 1
    expected = json.loads(pkgutil.get_data("highdicom", "_standard/module_attribute_map.json"))
    assert tables.get_module_attribute_map() == expected
    assert tables.get_module_attribute_map.cache_info().misses == 1


def test_a_version_without_these_tables_is_left_alone(unread, monkeypatch):
    monkeypatch.delattr(tables, "get_module_attribute_map")
    read_tables()
    assert tables.json is json


def test_whoever_writes_a_segmentation_has_read_them_so(unread, tmp_path):
    series = write_ct_series(tmp_path / "ct", np.zeros((6, 20, 26), np.int16))
    volume = read_source_volume([series.folder])
    mask = np.zeros(volume.shape_kji, bool)
    mask[2:4, 5:9, 6:12] = True

    write_predicted(tmp_path / "gtv.seg.dcm", mask, "GTV", volume, [series.folder])

    assert read_tables.cache_info().misses == 1
    assert tables.get_module_attribute_map.cache_info().misses == 1
