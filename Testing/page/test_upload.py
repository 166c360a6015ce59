"""Files that a browser sends become the image that every other part of the program reads from them."""

import gzip
import io
import os
import struct
import sys
import time
import zipfile

import numpy as np
import pytest

from ball_images import ball_mask
from context_propagation.core.errors import UserInputError
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_reading import read_roi
from context_propagation.files.segmentation import Wanted
from context_propagation.page import memory_folder as memory
from context_propagation.page.upload import read_upload
from context_propagation.segmentations.segmentation_files import read_together
from dicom_files import oblique, write_ct_series
from oblique_files import write_ball
from page_browser import PageBrowser, zipped
from served import an_image

MOST = 2**28


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("direction", ["permuted", "flipped", "oblique"])
def test_an_uploaded_file_is_the_image_that_is_read_from_it(tmp_path, ending, direction):
    path = write_ball(tmp_path / f"a ball{ending}", direction)

    image = read_upload(zipped([path]), MOST)

    expected = read_source_volume([path])
    assert np.array_equal(image.volume.channels, expected.channels)
    assert np.array_equal(image.volume.ijk_to_lps, expected.ijk_to_lps)


def test_what_the_browser_shows_is_the_image_that_the_server_computes_on(server, tmp_path):
    path = write_ball(tmp_path / "ball.nrrd", "oblique")
    shown = PageBrowser.with_files(server, [path]).image()

    volume = read_source_volume([path])
    assert np.array_equal(np.asarray(shown.dataobj).T, volume.channels[0])
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ shown.affine, volume.ijk_to_lps, atol=1e-5)


def sentence(data, most=MOST):
    with pytest.raises(UserInputError) as refused:
        read_upload(data, most)
    text = str(refused.value)
    assert "\n" not in text
    assert "/dev/shm/context" not in text
    return text


def test_nothing_is_left_in_the_folder_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "IN_MEMORY", tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    read_upload(zipped([write_ball(tmp_path / "a.nii.gz", "flipped")]), MOST)
    sentence(zipped([_file(tmp_path / "b.nii.gz", gzip.compress(b"no image"))]))
    assert list((tmp_path / "memory").iterdir()) == []


def test_what_a_killed_server_left_there_is_removed_after_an_hour(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "IN_MEMORY", tmp_path)
    for name, age_s in (("context-propagation-old", 3700), ("context-propagation-new", 60), ("somebody-else-s", 9999)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    with memory.memory_folder() as folder:
        assert {path.name for path in tmp_path.iterdir()} == {"context-propagation-new", "somebody-else-s", folder.name}


def test_a_system_without_a_folder_in_memory_takes_no_files(tmp_path, monkeypatch):
    data = zipped([write_ball(tmp_path / "a.nii.gz", "flipped")])
    monkeypatch.setattr(memory, "IN_MEMORY", tmp_path / "nowhere")
    assert sentence(data).endswith("images are not written to a disk; use a server on Linux")


def _file(path, data):
    path.write_bytes(data)
    return path


def test_damaged_and_hostile_archives_are_refused_in_one_sentence(tmp_path):
    ball = write_ball(tmp_path / "ball.nii.gz", "straight")
    assert sentence(b"no archive") == "The files did not arrive as they were sent; choose them again"
    assert sentence(zipped([ball], compression=zipfile.ZIP_DEFLATED)).startswith("The archive is compressed")
    assert "'ball.nii" in sentence(zipped([_file(tmp_path / "ball.nii.gz", ball.read_bytes()[:9000])]))
    assert sentence(zipped([], [ball])).startswith("A channel of the image is missing")
    two = [ball, write_ball(tmp_path / "other.nii.gz", "straight")]
    assert sentence(zipped(two)).startswith("Several files were chosen for a channel")
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../../0/ball.nii.gz", b"x")
    assert sentence(outside.getvalue()) == "The files did not arrive as they were sent; choose them again"


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path):
    bomb = _file(tmp_path / "bomb.nii.gz", gzip.compress(bytes(2**24)))
    assert sentence(zipped([bomb]), 2**20) == "'bomb.nii.gz' is larger than what the server takes; crop it"


def test_a_header_that_promises_more_than_the_server_takes_is_refused(tmp_path):
    path = write_ball(tmp_path / "ball.nii", "straight")
    data = bytearray(path.read_bytes())
    data[42:48] = struct.pack("<3h", 30000, 30000, 30000)
    assert "more than the server takes" in sentence(zipped([_file(path, bytes(data))]))


def dicom_series(folder):
    voxels = np.rint(100 * an_image().channels[0]).astype(np.int16)
    write_ct_series(folder, voxels, oblique())
    return sorted(folder.iterdir())


def test_a_dicom_series_is_read_and_gives_an_rt_structure_set_of_the_segmentation(server, tmp_path):
    folder = tmp_path / "series"
    files = dicom_series(folder)
    page = PageBrowser.with_files(server, files, bundle="phantom")
    assert page.begun["no_structure_set"] == ""
    page.start(ball_mask())

    written = tmp_path / "segmentation.dcm"
    written.write_bytes(page.download("rtstruct"))
    volume = read_source_volume([folder])
    assert np.array_equal(read_roi(written, "GTV", volume, [folder]).mask, ball_mask())


def test_dicom_files_without_an_ending_and_one_that_is_cut_off(tmp_path):
    files = dicom_series(tmp_path / "series")
    for number, file in enumerate(files):
        file.rename(file.with_name(f"IM{number:04d}"))
    files = sorted((tmp_path / "series").iterdir())
    assert read_upload(zipped(files), MOST).series is not None
    files[3].write_bytes(files[3].read_bytes()[:-500])
    assert "IM0003" in sentence(zipped(files)) or "DICOM series" in sentence(zipped(files))
    assert "one slice" in sentence(zipped(files[:1]))


def test_the_segmentation_comes_as_a_seg_nrrd_of_its_name(server, tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed: pip install 'slicer-context-propagation[mrml]'")
    page = PageBrowser.with_files(server, [write_ball(tmp_path / "ball.nii.gz", "oblique")], bundle="phantom")
    page.start(ball_mask())
    path = tmp_path / "segmentation.seg.nrrd"
    path.write_bytes(page.download("seg.nrrd"))
    volume = read_source_volume([tmp_path / "ball.nii.gz"])
    read = read_together([path], Wanted("GTV", (1,)), volume)[0]
    assert np.array_equal(read.mask, ball_mask())
    assert b"Segment0_Name:=GTV" in path.read_bytes()


def test_a_seg_nrrd_without_slicer_core_on_the_server_is_said_so(server, tmp_path, monkeypatch):
    page = PageBrowser.with_files(server, [write_ball(tmp_path / "ball.nii.gz", "oblique")], bundle="phantom")
    page.start(ball_mask())
    monkeypatch.setitem(sys.modules, "slicer", None)
    said = page.ask("page/file", {"kind": "seg.nrrd"})
    assert said.startswith("The package 'slicer' is not installed")
    assert "slicer-context-propagation[mrml]" in said


MHA = b"NDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\n"
NRRD = b"NRRD0004\ntype: int16\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nendian: little\n"


@pytest.mark.parametrize(
    ("ending", "header"),
    [
        (".mha", MHA + b"ElementDataFile = %s\n"),
        (".mha", MHA + b"Comment = ElementDataFile = LOCAL\nElementDataFile = %s\n"),
        (".nrrd", NRRD + b"data file: %s\n"),
        (".nrrd", NRRD + b"datafile: %s\n\n"),
    ],
    ids=["MHA", "MHA that says otherwise", "NRRD", "NRRD that goes on"],
)
def test_a_header_cannot_lead_the_reader_to_another_file_of_the_server(tmp_path, ending, header):
    secret = _file(tmp_path / "secret", np.arange(64, dtype="<i2").tobytes())
    said = sentence(zipped([_file(tmp_path / f"image{ending}", header % str(secret).encode())]))
    assert said == f"'image{ending}' does not hold its voxels itself, or is damaged; export it as one file"


def test_a_file_of_no_format_that_is_read_is_refused(tmp_path):
    said = sentence(zipped([_file(tmp_path / "image.h5", b"\x89HDF\r\n\x1a\n" + bytes(1000))]))
    assert said == "'image.h5' is neither NIfTI, NRRD, MHA nor DICOM; export it as one of them"


def flagged(data, bits):
    """An archive whose first file has more flags, in the directory and before the file itself."""
    changed = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(mark) + place] |= bits
    return bytes(changed)


def test_an_encrypted_archive_and_one_whose_voxels_changed_on_their_way_are_said(server, tmp_path):
    data = zipped([write_ball(tmp_path / "ball.nii", "straight")])
    changed = bytearray(data)
    changed[5000] ^= 1
    for sent, said in (
        (flagged(data, 0x01), "The archive is encrypted; the page sends files as they are"),
        (flagged(data, 0x20), "'ball.nii' is damaged; copy or export it again"),  # patch data
        (flagged(data, 0x40), "'ball.nii' is damaged; copy or export it again"),  # strong encryption
        (bytes(changed), "'ball.nii' is damaged; copy or export it again"),
    ):
        status, answer = server.asked("POST", "/api/page/files?bundle=network", sent)
        assert (status, answer["message"]) == (400, said)


def test_an_archive_with_any_changed_byte_is_read_or_refused_in_one_sentence(tmp_path):
    data = zipped([_file(tmp_path / "ball.nii", write_ball(tmp_path / "a.nii", "straight").read_bytes()[:400])])
    outside = [at for at in range(len(data)) if not 60 < at < 380]
    for at in outside:
        for value in (0, 1, 255):
            changed = bytearray(data)
            changed[at] = value
            try:
                read_upload(bytes(changed), MOST)
            except UserInputError as error:
                assert "\n" not in str(error)  # noqa: PT017 - it may also be read


def test_a_page_asks_whether_its_files_would_be_taken_before_it_sends_them(server):
    wanted = {"bundle": "network", "label": None, "size_bytes": 1000}
    assert server.asked("POST", "/api/page/room", wanted) == (204, None)
    status, answer = server.asked("POST", "/api/page/room", {**wanted, "bundle": "elsewhere"})
    said = "The server has no model 'elsewhere'; choose one of 'network', 'phantom'"
    assert (status, answer["message"]) == (400, said)
    assert server.asked("POST", "/api/page/files?bundle=elsewhere", b"x")[1]["message"] == said
    status, answer = server.asked("POST", "/api/page/room", {**wanted, "size_bytes": 2**40})
    assert (status, answer["message"]) == (
        413, "The files have 1048576 MiB, and the server takes 16384 MiB at most; crop the image",
    )  # fmt: skip
