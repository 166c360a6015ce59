"""What the server does for its page: a history with previews, undo and redo, and files to download."""

import gzip

import nibabel
import numpy as np
import pytest

from ball_images import ball_mask
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.files.image_files import read_source_volume
from oblique_files import write_ball
from page_browser import PageBrowser
from served import EDITED, announced

FIRST = ball_mask()
DRAWN = np.where(np.arange(len(FIRST))[:, None, None] == 12, EDITED, FIRST)


@pytest.fixture
def page(server, tmp_path):
    page = PageBrowser.with_files(server, [write_ball(tmp_path / "ball.nii.gz", "oblique")], bundle="phantom")
    page.start(FIRST)
    yield page
    server.asked("DELETE", page.address)


def test_a_redrawn_slice_is_previewed_applied_undone_redone_and_downloaded(page):
    previewed = page.redraw(DRAWN)
    would = page.segmentation(previewed)
    assert np.array_equal(would[12], EDITED[12])
    assert (would != FIRST).any(axis=(1, 2)).sum() > 1  # carried to other slices
    assert " slice 12 as drawn; " in previewed["said"][0]

    applied = page.ask("page/apply")
    assert (applied["done"], applied["undone"]) == (1, 0)
    assert np.array_equal(page.segmentation(applied), would)
    undone = page.ask("page/undo")
    assert (undone["done"], undone["undone"]) == (0, 1)
    assert np.array_equal(page.segmentation(undone), FIRST)
    assert np.array_equal(page.segmentation(page.ask("page/redo")), would)

    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(page.download("nifti")))
    assert np.array_equal(np.asarray(written.dataobj).T > 0, would)
    assert np.allclose(written.affine, page.image().affine)


def test_a_preview_is_applied_once_and_not_after_another_step(page):
    nothing = "Nothing was previewed; draw a slice and preview it first"
    assert page.ask("page/apply") == nothing
    page.redraw(DRAWN)
    page.ask("page/apply")
    assert page.ask("page/apply") == nothing
    page.redraw(FIRST)
    page.ask("page/undo")
    assert page.ask("page/apply") == nothing
    assert page.ask("page/undo") == "There is nothing to undo"


def test_what_cannot_be_used_is_said_in_one_sentence(page):
    assert page.redraw(FIRST) == "The segmentation is unchanged; redraw at least one slice"
    cube = FIRST.copy()
    cube[6:9, 6:9, 6:9] ^= True
    assert page.redraw(cube).startswith("It is unclear which slices were redrawn")
    assert len(page.ask("page/edits", {"mask": BoxedMask.of(cube).plain(), "axis": 1})["edits"]) == 3
    assert page.ask("page/file", {"kind": "rtstruct"}) == (
        "The image did not come as DICOM, and an RT Structure Set lies on a DICOM series; download NIfTI instead"
    )


def test_a_session_of_another_client_has_no_page(server):
    _, begun = server.asked("POST", "/api/sessions", announced())
    status, answer = server.asked("POST", f"/api/sessions/{begun['session']}/page/undo")
    assert status == 404
    assert answer["message"].startswith("The server does not have this session")


def test_a_redrawn_slice_gives_what_a_session_on_this_side_gives(page, offered, tmp_path):
    loaded = load_model(offered / "phantom", device="cpu").with_general_far()
    session: Session = loaded.session(SessionSettings(update=UpdateSettings(iterations=2)))
    session.set_image(read_source_volume([tmp_path / "ball.nii.gz"]), FIRST)

    expected = session.propagate([SliceEdit(0, 12, EDITED[12])]).segmentation
    assert np.array_equal(page.segmentation(page.redraw(DRAWN)), expected)


def test_the_demo_case_is_the_phantom_that_no_network_saw(server):
    page = PageBrowser.with_demo(server)
    written = page.image()
    assert written.shape == (88, 88, 64)
    assert np.asarray(written.dataobj).min() >= -1024


def test_a_preview_of_what_was_there_before_a_new_start_cannot_be_applied(page):
    page.redraw(DRAWN)
    page.start(FIRST)
    assert page.ask("page/apply") == "Nothing was previewed; draw a slice and preview it first"
