"""What "Propagate Edit" asks for before it starts: models, a second volume, voxels in place of surfaces, old edits."""

import errno
from pathlib import Path

import numpy as np
import pytest

from as_a_user import choose, click, settle
from effect_bench import DRAWN, EFFECT, SLICE, EffectBench, ball, write_models


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    folder = tmp_path_factory.mktemp("models")
    one, two = write_models(folder / "one"), write_models(folder / "two", channels=2)
    return one.rename(folder / "one channel"), two.rename(folder / "two channels")


@pytest.fixture
def bench(application, bundles, models_loaded_once):
    bench = EffectBench(application, *bundles)
    bench.choose_model("one channel")
    yield bench
    bench.close()


@pytest.fixture
def two_channels(bench):
    bench.pet = bench.add_volume("PET", seed=4)
    bench.open_segment(ball())
    bench.choose_model("two channels")
    return bench


# -- models


def test_the_shipped_model_is_offered_first(bench):
    names = [bench.widgets.model.itemText(n) for n in range(bench.widgets.model.count)]

    assert names == ["Phantom demo (nasopharynx)", "one channel", "two channels"]


def test_a_model_that_was_deleted_is_told(bench, bundles):
    bench.open_segment(ball())
    folder = bundles[0]
    moved = folder.rename(folder.with_name("elsewhere"))
    try:
        bench.start()
    finally:
        moved.rename(folder)

    assert len(bench.application.texts("error")) == 1
    assert str(folder) in bench.application.texts("error")[0]
    assert bench.is_idle()
    bench.start()
    assert "Redraw a slice" in bench.status


def test_another_model_must_be_started_anew(bench):
    bench.open_segment(ball())
    bench.start()
    bench.choose_model("Phantom demo (nasopharynx)")

    assert bench.status == "Press Start before you redraw."
    assert not bench.widgets.propagate.enabled

    bench.choose_model("one channel")
    assert "Redraw a slice" in bench.status


@pytest.mark.parametrize(("far", "scope"), [(True, "whole volume (general)"), (False, "near slices only")])
def test_a_model_without_a_fusion_network_says_how_far_its_edits_reach(bench, bundles, far, scope):
    from context_propagation.gui.model_list import ModelList

    base = bundles[0].parent / "one" / "base"
    ModelList().add(base)
    ModelList().say_general_far(base, far)
    bench.open_segment(ball())
    bench.choose_model("base")
    bench.start()
    bench.paint(DRAWN)

    bench.propagate()

    assert scope in bench.status


def test_a_folder_that_cannot_be_looked_at_is_listed_and_stops_nothing(application, bundles, monkeypatch):
    bench = EffectBench(application, *bundles)
    real = Path.is_dir

    def is_dir(path):
        if path.name == "two channels":
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    bench.open_segment(ball())

    assert bench.widgets.model.count == 3
    bench.choose_model("two channels")
    click(bench.widgets.start)
    (error,) = application.texts("error")
    assert f"'{bundles[1]}' cannot be looked at" in error
    assert "Stale file handle" in error
    monkeypatch.setattr(Path, "is_dir", real)
    bench.close()


# -- a second channel


def test_a_second_volume_is_asked_for_only_by_a_model_with_two_channels(two_channels):
    assert not two_channels.widgets.second.isHidden()

    two_channels.choose_model("one channel")

    assert two_channels.widgets.second.isHidden()


def test_without_the_second_volume_it_says_what_is_missing(two_channels):
    two_channels.start()

    (text,) = two_channels.application.texts("error")
    assert "reads 2 volumes" in text
    assert "1 is selected" in text
    assert two_channels.is_idle()


def test_the_second_volume_is_used_and_kept_in_the_editors_node(two_channels):
    two_channels.segmentation.GetSegmentation().RemoveSegment("gtv")
    two_channels.open_segment(name="Empty")
    choose(two_channels.widgets.second, two_channels.pet)
    two_channels.start()
    predicted = two_channels.voxels("empty")
    assert two_channels.logic.selection.volume_nodes == (two_channels.ct, two_channels.pet)
    assert two_channels.editor.node.GetNodeReference("Propagate Edit.SecondVolume") is two_channels.pet

    other = two_channels.add_volume("Other PET", seed=9)
    choose(two_channels.widgets.second, other)
    settle()
    assert two_channels.status == "Press Start before you redraw."
    two_channels.open_segment(name="Second")
    two_channels.application.answers = [False]  # it is not for a lesion that the model missed
    two_channels.start()

    assert predicted.any()
    assert not np.array_equal(two_channels.voxels("second"), predicted)
    assert not two_channels.application.texts("error")


def test_a_second_volume_on_another_grid_is_refused(two_channels):
    other = two_channels.add_volume("PET", ijk_to_lps=np.diag([2.0, 2.0, 2.5, 1.0]))
    choose(two_channels.widgets.second, other)

    two_channels.start()

    assert "is not on the grid of" in two_channels.application.texts("error")[0]
    assert two_channels.is_idle()


def test_the_second_volume_may_be_deleted(two_channels):
    choose(two_channels.widgets.second, two_channels.pet)
    two_channels.start()
    two_channels.paint(DRAWN)
    two_channels.propagate()

    two_channels.application.scene.RemoveNode(two_channels.pet)
    settle()

    assert two_channels.logic.propagation is None
    assert two_channels.is_idle()
    assert two_channels.widgets.second.currentNode() is None  # where Slicer's selector had gone on to the CT
    assert "gone from the scene" in two_channels.status
    two_channels.start()
    assert "reads 2 volumes" in two_channels.application.texts("error")[0]


# -- surfaces


@pytest.fixture
def surface(bench):
    import slicer

    bench.open_segment(ball())
    segmentation = bench.segmentation.GetSegmentation()
    segmentation.CreateRepresentation("Closed surface")
    segmentation.SetSourceRepresentationName("Closed surface")
    segmentation.RemoveRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName())
    settle()
    return bench


def test_a_surface_is_left_as_it_is_where_the_user_says_no(surface):
    surface.application.answers[:] = [False]

    surface.start()

    assert "stored as contours or surface" in surface.application.texts("question")[0]
    assert surface.segmentation.GetSegmentation().GetSourceRepresentationName() == "Closed surface"
    assert not surface.segmentation.GetSegmentation().ContainsRepresentation("Binary labelmap")
    assert surface.is_idle()
    assert not surface.application.texts("error")


def test_a_surface_is_converted_where_the_user_says_yes(surface):
    surface.application.answers[:] = [True]

    surface.start()

    assert surface.segmentation.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert (surface.voxels() ^ ball()).sum() < 0.2 * ball().sum()
    assert "Redraw a slice" in surface.status


# -- edits in the scene


def test_edits_in_the_scene_are_replayed_where_the_user_wants_that(bench):
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    bench.propagate()
    bench.apply()
    before = bench.voxels()
    bench.logic.close_session()  # as after the scene was saved and loaded
    bench.application.answers[:] = [True]

    bench.start()

    assert "1 propagated edit(s)" in bench.application.texts("question")[0]
    assert np.array_equal(bench.voxels(), before)
    assert [[e.index for e in done.edits] for done in bench.logic.history] == [[SLICE]]
    bench.paint(ball((4, 8, 8), (0.5, 6, 6)))
    bench.propagate()
    bench.apply()
    assert [[e.index for e in done.edits] for done in bench.logic.history] == [[SLICE], [4]]


def test_what_was_drawn_before_a_crash_comes_back_with_one_yes(bench):
    from dead_slicer import leave_behind

    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    bench.propagate()
    bench.apply()
    bench.paint(ball((4, 8, 8), (0.5, 6, 6)))
    left, before = leave_behind(bench.logic), bench.voxels()
    bench.logic.close_session()
    bench.open_segment(name="GTV2")
    bench.application.answers[:] = [True]

    bench.start()

    assert "(drawn slices: 2). Bring it back?" in bench.application.texts("question")[0]
    assert np.array_equal(bench.voxels("gtv2"), before)
    assert [[e.index for e in done.edits] for done in bench.logic.history] == [[SLICE]]
    assert not left.exists()
    bench.propagate()
    bench.apply()
    assert [[e.index for e in done.edits] for done in bench.logic.history] == [[SLICE], [4]]


def test_odd_intensities_are_asked_about_and_no_stops(bench, bundles):
    bench.open_segment(ball())
    bench.choose_model("Phantom demo (nasopharynx)")
    bench.application.answers[:] = [False]

    bench.start()

    assert "Please read this before going on" in bench.application.texts("question")[0]
    assert bench.logic.propagation is None
    assert bench.is_idle()


def test_the_module_may_close_the_session_of_a_preview(bench):
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    bench.propagate()

    bench.logic.close_session()
    bench.editor.setActiveEffect(None)
    bench.editor.setActiveEffect(EFFECT)

    assert bench.is_idle()
    assert bench.status == "Press Start before you redraw."
