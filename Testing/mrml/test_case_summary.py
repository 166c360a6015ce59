"""The page for the record of a real session in a real scene."""

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.session.session_node import find_session_node, read_session
from loaded_models import quick_model
from summary_pages import SummaryPage, without_pictures

pytest.importorskip("monai")
pytest.importorskip("matplotlib")

SHAPE = (16, 16, 16)
NAME = "Roe_Jane"


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """They take most of the time; Testing/files looks at them."""
    for name in ("contours_png", "changes_png"):
        monkeypatch.setattr(f"context_propagation.files.case_summary.{name}", lambda *_: b"")


@pytest.fixture
def case(make_case):
    """An oblique, anisotropic volume."""
    case = make_case(shape=SHAPE)
    case.volume.SetName(f"{NAME} CT")
    case.segmentation.SetName(f"{NAME} contours")
    return case


@pytest.fixture
def target(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (8, 8, 8), (4, 5, 5))


@pytest.fixture
def logic(case, tiny_bundle, target):
    """The image is cached, around a segment that was there before."""
    logic = ContextPropagationLogic(case.scene)
    logic.loaded = quick_model(tiny_bundle)
    logic.select([case.volume], case.segmentation, case.add(target, name=f"GTV {NAME}"))
    logic.predict()
    yield logic
    logic.close()


@pytest.fixture
def redraw(logic, case, target):
    """Redraw a slice, moved by two voxels, and propagate."""

    def redraw(index=7):
        logic.edit_slice(index, np.roll(target[index], 2, axis=1), case.source.plane_of_axis[0])
        return logic.propagate()

    return redraw


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    return folder / "case.html"


def shown(path):
    return SummaryPage(path.read_text(encoding="utf-8"))


def edits(page):
    return [row for row in page.rows if len(row) == 8][1:]


def test_the_page_tells_what_was_done_to_the_segment(logic, case, target, redraw, path):
    done = redraw()

    assert logic.summary(path) == path

    page, result = shown(path), logic.segment_mask()
    changed = done.result.changed_per_slice
    (edit,) = edits(page)
    assert edit[2:4] == [case.source.plane_of_axis[0], "7"]
    assert edit[4:] == [done.result.scope, str(sum(changed.values())), str(len(changed)), "0"]
    voxel_ml = 0.8 * 1.1 * 2.5 / 1000
    assert page.value("Volume of the first contour") == f"{target.sum() * voxel_ml:.2f} mL"
    assert page.value("Volume of the final contour") == f"{result.sum() * voxel_ml:.2f} mL"
    assert page.value("DSC") == f"{2 * (result & target).sum() / (result.sum() + target.sum()):.3f}"
    assert page.value("Image, channel 1, SHA-256") == image_sha256(case.source)[0]
    assert page.value("Model, SHA-256") == logic.loaded.model.content_hash
    assert page.value("Model") == "nnU-Net"
    assert page.value("Voxels changed since the last edit") == "0"
    assert page.value("Voxels changed by hand on other slices") == "0"


def test_no_name_of_a_node_a_segment_or_a_file_is_in_it_and_the_title_is(logic, redraw, path):
    redraw()
    logic.summary(path)
    text = without_pictures(path.read_text(encoding="utf-8"))
    assert not [word for word in ("Roe", "Jane", "contours of", str(path.parent.parent), "/tmp") if word in text]
    assert not [id_ for id_ in ("vtkMRML", logic.selection.segment_id) if id_ in text]

    logic.summary(path, title="Plan <b>2</b> of J. R.")
    assert shown(path).text.count("Plan <b>2</b> of J. R.") == 2
    assert "b" not in shown(path).tags


def test_a_session_without_edits_has_a_page(logic, path):
    logic.summary(path)

    assert "No edit was propagated." in shown(path).text
    assert shown(path).value("DSC") == "1.000"


def test_an_undone_propagation_is_left_out_and_its_drawing_counts_as_changed_since(logic, target, redraw, path):
    redraw(7)
    redraw(10)
    logic.undo()

    logic.summary(path)

    assert [edit[3] for edit in edits(shown(path))] == ["7"]
    # the drawing on slice 10 stays
    waiting = int((np.roll(target[10], 2, axis=1) ^ logic.session.segmentation[10]).sum())
    assert shown(path).value("Voxels changed since the last edit") == str(waiting) != "0"


def test_what_was_painted_since_is_counted(logic, case, redraw, path):
    redraw()
    painted = logic.segment_mask()
    painted[12, 1:3, 1:5] ^= True
    case.paint(logic.selection.segment_id, painted)

    logic.summary(path)

    assert shown(path).value("Voxels changed since the last edit") == "8"


def test_without_session_and_model_the_scene_s_record_is_enough(logic, case, redraw, path):
    redraw()
    logic.summary(path)
    before = shown(path)
    other = ContextPropagationLogic(case.scene)
    other.select([case.volume], case.segmentation, logic.selection.segment_id)
    logic.close()

    other.summary(path)

    after = shown(path)
    assert after.value("Model") == "not loaded when this page was made"
    assert edits(after) == edits(before)
    for name in ("DSC", "Hausdorff distance, 95 %", "Voxels changed since the last edit", "Model, SHA-256"):
        assert after.value(name) == before.value(name)


def test_a_propagation_that_the_segment_editor_undid_in_a_saved_scene_is_left_out(logic, case, redraw, path):
    redraw()
    node = find_session_node(case.scene, case.segmentation, logic.selection.segment_id)
    saved = read_session(node, SHAPE)
    logic.close_session()
    case.paint(logic.selection.segment_id, saved.propagations[0].drawn.mask)

    logic.summary(path)

    assert edits(shown(path)) == []
    assert shown(path).value("Voxels changed since the last edit") == "0"


def test_a_segment_on_a_finer_grid_is_measured_on_the_image_s(make_case, tiny_bundle, target, path):
    case = make_case(shape=SHAPE)
    half = np.diag([0.5, 0.5, 1.0, 1.0])
    half[:3, 3] = (-0.25, -0.25, 0)
    fine = case.add_on_grid(half, (16, 32, 32), case.nearest(target))
    logic = ContextPropagationLogic(case.scene)
    logic.loaded = quick_model(tiny_bundle)
    logic.select([case.volume], case.segmentation, fine)
    logic.predict()

    logic.summary(path)

    assert shown(path).value("Volume of the first contour") == f"{target.sum() * 0.8 * 1.1 * 2.5 / 1000:.2f} mL"
    assert shown(path).value("DSC") == "1.000"
    assert shown(path).value("Voxels changed since the last edit") == "0"
    logic.close()


def test_it_is_refused_where_nothing_is_known_or_nodes_were_moved(logic, case, redraw, path, rotate):
    other = ContextPropagationLogic(case.scene)
    other.select([case.volume], case.segmentation, case.add(np.ones(SHAPE, bool), "Other"))
    with pytest.raises(UserInputError, match="holds no edits of this segment; predict first"):
        other.summary(path)

    redraw()
    logic.close_session()
    case.segmentation.SetAndObserveTransformNodeID(case.transform(rotate(10, (0, 0, 1))).GetID())
    with pytest.raises(UserInputError, match="were moved relative to each other"):
        logic.summary(path)
    assert not path.exists()


def test_another_image_is_refused(logic, case, redraw, path):
    redraw()
    logic.close_session()
    image = case.volume.GetImageData()
    image.SetScalarComponentFromDouble(0, 0, 0, 0, 77.0)
    with pytest.raises(UserInputError, match="made on another image"):
        logic.summary(path)
    assert not path.exists()


def test_while_a_preview_is_open_it_is_refused(logic, case, target, path):
    logic.edit_slice(7, np.roll(target[7], 2, axis=1), case.source.plane_of_axis[0])
    pending = logic.propagate_operation().run()
    with pytest.raises(UserInputError, match="waits to be applied or discarded"):
        logic.summary(path)
    logic.discard(pending)


@pytest.mark.parametrize("wrong", ["case.pdf", "nowhere/case.html"])
def test_a_path_that_cannot_be_used_is_named(logic, path, wrong):
    with pytest.raises(UserInputError, match=wrong.partition("/")[0]):
        logic.summary(path.parent / wrong)
    assert list(path.parent.iterdir()) == []


def test_cancelled_it_leaves_the_older_page_as_it_was(logic, path):
    path.write_text("older")
    with pytest.raises(Cancelled):
        logic.summary_operation(path).run(cancelled=lambda: True)
    assert path.read_text() == "older"
    assert list(path.parent.iterdir()) == [path]


def test_it_tells_of_the_scene_as_it_was_when_it_was_asked_for(logic, case, redraw, path):
    redraw()
    operation = logic.summary_operation(path)
    logic.close()
    case.scene.Clear(0)

    operation.run()

    assert len(edits(shown(path))) == 1


def test_while_the_image_is_being_cached_the_scene_s_record_is_told(logic, redraw, path):
    redraw()
    starting = logic.predict_operation()
    starting.begin()

    logic.summary(path)

    starting.abandon()
    assert len(edits(shown(path))) == 1
