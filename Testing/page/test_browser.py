"""A person's whole job in a real Chromium, on a real server."""

import gzip
import io
from functools import partial
from threading import Event

import nibabel
import numpy as np
import pytest

pytest.importorskip("fastapi")

from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_reading import read_roi
from context_propagation.page.api import add_page
from context_propagation.server.worker import Job
from dicom_files import oblique, write_ct_series
from oblique_files import write_ball
from page_chromium import Tab, chromium
from served import ServerProcess, an_image, served

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1100, "height": 760}, accept_downloads=True)
    yield Tab(context.new_page())
    context.close()


DEMO_KJI = 64, 88, 88


def test_a_whole_job_on_the_demo_case(server, tab):
    tab.open(server.url)
    tab.page.select_option("#model", "phantom")
    assert tab.click("demo", "opened") == "The image is open. Predict the first contour"
    tab.click("predict")
    first = tab.mask(DEMO_KJI)
    assert first.any()
    tab.picture("1 predicted")

    tab.draw("pen", (-0.09, -0.03))
    drawn = tab.mask(DEMO_KJI)
    (index,) = np.flatnonzero((drawn != first).any(axis=(1, 2)))
    said = tab.click("preview", "previewing")
    assert said.startswith(f"The axial slice {index} as drawn; ")
    tab.page.select_option("#view", "three")
    tab.picture("2 preview")
    tab.page.click("#discard")
    assert np.array_equal(tab.until("ready").mask(DEMO_KJI), drawn)

    assert tab.click("propagate") == said
    propagated = tab.mask(DEMO_KJI)
    assert np.array_equal(propagated[index], drawn[index])
    assert (propagated != first).any(axis=(1, 2)).sum() > 1
    tab.picture("3 propagated")
    tab.click("undo")
    assert np.array_equal(tab.mask(DEMO_KJI), first)
    tab.click("redo")
    assert np.array_equal(tab.mask(DEMO_KJI), propagated)

    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(tab.download("save-nifti")))
    assert np.array_equal(np.asarray(written.dataobj).T > 0, propagated)
    assert tab.download("save-seg").startswith(b"NRRD")
    assert tab.page.is_disabled("#save-rt")
    assert tab.page.inner_text("#why-no-rt").startswith("The image did not come as DICOM")
    assert tab.complaints == []


@pytest.mark.parametrize("direction", ["permuted", "oblique"])
def test_what_is_drawn_on_a_turned_image_lies_where_it_was_drawn(server, tab, tmp_path, direction):
    path = write_ball(tmp_path / "ball.nii.gz", direction)
    volume = read_source_volume([path])
    tab.open(server.url)
    tab.page.select_option("#model", "phantom")
    tab.page.set_input_files("#channels input", path)
    tab.click("open", "opened")
    tab.click("predict")
    first = tab.mask(volume.shape_kji)
    for tool in ("pen", "eraser"):  # what the model makes of noise may hold all of the square
        square_ras = tab.draw(tool, (0.05, 0.05), 0.3)
        drawn = tab.mask(volume.shape_kji)
        if (drawn != first).any():
            break
    tab.page.select_option("#plane", "axial")
    tab.click("propagate")

    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(tab.download("save-nifti")))
    result = np.asarray(written.dataobj).T > 0
    axis = volume.axis_of_plane("axial")
    (index,) = np.flatnonzero((drawn != first).any(axis=tuple({0, 1, 2} - {axis})))
    assert np.array_equal(result.take(index, axis), drawn.take(index, axis))
    along = along_square(square_ras, volume).take(index, axis + 1)
    inside = ((along > 0.1) & (along < 0.9)).all(axis=0)  # a voxel is an eighth of the square
    beside = ((along < -0.1) | (along > 1.1)).any(axis=0)
    assert inside.sum() > 20
    assert (drawn.take(index, axis)[inside] == (tool == "pen")).all()
    assert np.array_equal(drawn.take(index, axis)[beside], first.take(index, axis)[beside])
    assert tab.complaints == []


def along_square(corners_ras, volume):
    """Where each voxel's centre lies along the two sides of a square, 0 to 1: `[2, K, J, I]`."""
    corner, *ends = np.array(corners_ras) * (-1, -1, 1)
    k, j, i = np.indices(volume.shape_kji)
    centres = np.stack([i, j, k], axis=-1) @ volume.ijk_to_lps[:3, :3].T + volume.ijk_to_lps[:3, 3]
    return np.stack([(centres - corner) @ (end - corner) / ((end - corner) @ (end - corner)) for end in ends])


def test_a_dicom_series_leaves_as_an_rt_structure_set(server, tab, tmp_path):
    folder = tmp_path / "series"
    write_ct_series(folder, np.rint(100 * an_image().channels[0]).astype(np.int16), oblique())
    volume = read_source_volume([folder])
    tab.open(server.url)
    tab.page.select_option("#model", "phantom")
    assert tab.page.is_enabled("#open")
    tab.page.click("#open")
    assert tab.until("empty").said == "Choose the image's files first"
    tab.page.set_input_files("#channels input", sorted(folder.iterdir()))
    tab.click("open", "opened")
    tab.click("predict")
    mask = tab.mask(volume.shape_kji)
    path = tmp_path / "segmentation.dcm"
    path.write_bytes(tab.download("save-rt"))
    assert np.array_equal(read_roi(path, "GTV", volume, [folder]).mask, mask)
    assert tab.complaints == []


def test_a_server_that_is_killed_and_began_anew_loses_nothing(offered, tab):
    server = ServerProcess(offered)
    server.wait()
    try:
        tab.open(f"http://127.0.0.1:{server.port}/")
        tab.page.select_option("#model", "phantom")
        tab.click("demo", "opened")
        tab.click("predict")
        tab.draw("pen", (-0.09, -0.03))
        tab.click("propagate")
        propagated = tab.mask(DEMO_KJI)
        tab.draw("eraser", (0.0, -0.1))
        drawn = tab.mask(DEMO_KJI)
        server.kill()
        assert tab.click("preview") == "The server does not answer; what you drew is kept in this page: try again"
        assert np.array_equal(tab.mask(DEMO_KJI), drawn)
        server.start()
        server.wait()
        tab.click("propagate")
        (index,) = np.flatnonzero((drawn != propagated).any(axis=(1, 2)))
        assert np.array_equal(tab.mask(DEMO_KJI)[index], drawn[index])
        tab.click("undo")
        assert np.array_equal(tab.mask(DEMO_KJI), propagated)
    finally:
        server.kill()


def test_drawings_are_kept_after_a_tick_alone_and_leaving_is_asked_about_else(server, tab):
    def begin():
        tab.page.select_option("#model", "phantom")
        tab.click("demo", "opened")
        tab.click("predict")

    tab.open(server.url)
    begin()
    tab.draw("pen", (-0.09, -0.03))
    tab.page.reload()
    assert tab.questions == [("beforeunload", "")]
    tab.until("empty")
    assert tab.page.evaluate("localStorage.length") == 0

    tab.questions.clear()
    begin()
    tab.page.check("#keep")
    tab.draw("pen", (-0.09, -0.03))
    tab.click("propagate")
    propagated = tab.mask(DEMO_KJI)
    tab.draw("eraser", (0.0, -0.1))
    drawn = tab.mask(DEMO_KJI)
    tab.page.wait_for_timeout(1000)
    tab.page.reload()
    assert tab.questions == []
    tab.until("empty")
    begin()
    assert tab.page.is_checked("#keep")
    assert tab.questions == [("confirm", "This browser has drawings of this image. Go on with them?")]
    assert np.array_equal(tab.mask(DEMO_KJI), drawn)
    tab.click("undo")
    tab.click("redo")
    assert np.array_equal(tab.mask(DEMO_KJI), propagated)
    tab.page.uncheck("#keep")
    assert tab.page.evaluate("localStorage.length") == 0


def test_kept_drawings_that_could_not_be_computed_again_are_kept_until_they_are(server, tab):
    tab.open(server.url)
    tab.page.select_option("#model", "phantom")
    tab.click("demo", "opened")
    tab.click("predict")
    tab.page.check("#keep")
    tab.draw("pen", (-0.09, -0.03))
    tab.click("propagate")
    propagated = tab.mask(DEMO_KJI)
    tab.page.wait_for_timeout(1000)
    tab.page.reload()
    tab.until("empty")

    tab.page.select_option("#model", "phantom")
    tab.click("demo", "opened")
    tab.page.route("**/page/preview", lambda route: route.fulfill(status=503, json={"message": "Try again"}))
    assert tab.click("predict", "opened") == "Try again"  # nothing can be drawn in their place
    tab.page.unroute("**/page/preview")
    tab.click("predict")
    assert np.array_equal(tab.mask(DEMO_KJI), propagated)


def test_undo_asks_about_what_was_drawn_since(server, tab):
    tab.open(server.url)
    tab.page.select_option("#model", "phantom")
    tab.click("demo", "opened")
    tab.click("predict")
    tab.draw("pen", (-0.09, -0.03))
    tab.click("propagate")
    tab.draw("eraser", (0.0, -0.1))
    tab.click("undo")
    tab.click("redo")
    assert tab.questions == [("confirm", "What you drew since the last step will be lost. Go on?")]


def test_a_token_is_asked_for_until_it_is_right(offered, tab, tmp_path):
    token = "a-token-of-twenty-letters"
    (tmp_path / "tokens").write_text(f"ann {token}\n")
    (tmp_path / "tokens").chmod(0o600)
    with served(offered, partial(add_page), token_file=tmp_path / "tokens") as server:
        tab.page.goto(server.url)
        for typed in ("wrong", token):
            tab.page.wait_for_selector("#token[open]")
            tab.page.fill("#token-text", typed)
            tab.page.click("#token-go")
        assert tab.until("empty").said == "Open an image, or the demo case"
        assert tab.page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_a_cancelled_prediction_leaves_the_page_as_it_was(server, tab):
    tab.open(server.url)
    tab.page.select_option("#model", "phantom")
    tab.click("demo", "opened")
    others_done = Event()
    server.store._worker.begin(Job(lambda job: others_done.wait(60)))  # somebody else's, before ours
    tab.page.click("#predict")
    with tab.page.expect_response("**/cancel"):
        tab.page.click("#cancel")
    others_done.set()
    assert tab.until("opened").said == "Cancelled; nothing was changed"
    tab.click("predict")
    assert tab.mask(DEMO_KJI).any()


def test_the_licences_of_all_that_is_bundled_are_shown(server, browser):
    page = browser.new_page()
    page.goto(f"{server.url}/page/licences.txt")
    text = io.StringIO(page.inner_text("body")).read()
    for part in ("@niivue/niivue 0.69.0 (BSD-2-Clause)", "Copyright (c) 2021, Niivue", "fflate", "gl-matrix"):
        assert part in text
    page.close()
