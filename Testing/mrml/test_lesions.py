"""Several segments of one image, each with a session of its own, over real MRML with a real nnU-Net in a bundle."""

from collections import Counter

import numpy as np
import pytest

from bundles import write_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import segment_mask
from loaded_models import quick_model
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    folder = tmp_path_factory.mktemp("lesions")
    base = write_nnunet_folder(folder / "base", seed=1, spacing=(2.5, 1.1, 0.8), features=(2, 4, 4))
    return write_bundle(folder / "bundle", base, channels=4, width=0.5, neighbours=2)


@pytest.fixture
def case(make_case):
    return make_case(shape=SHAPE)


def ball(center, radius=3.0):
    return sum((grid - at) ** 2 for grid, at in zip(np.indices(SHAPE), center, strict=True)) <= radius**2


A, B = ball((8, 5, 5)), ball((7, 11, 11))


@pytest.fixture
def logic(case, bundle):
    """A model, and two drawn lesions on one image."""
    logic = ContextPropagationLogic(case.scene)
    logic.plane = case.source.plane_of_axis[0]
    logic.loaded = quick_model(bundle)
    case.a, case.b = case.add(A, "A"), case.add(B, "B")
    yield logic
    logic.close()


@pytest.fixture
def choose(logic, case):
    return lambda name: logic.select([case.volume], case.segmentation, name)


@pytest.fixture
def both(logic, choose):
    """Both lesions were started; A is in use."""
    for name in ("B", "A"):
        choose(name)
        logic.predict()
    return logic


@pytest.fixture
def encoded(logic, monkeypatch):
    """How often the network's encoder ran."""
    counted, split = Counter(), logic.loaded.model.splits[0]
    encode = split.encode

    def counting(*arguments, **options):
        counted["encode"] += 1
        return encode(*arguments, **options)

    monkeypatch.setattr(split, "encode", counting)
    return counted


def edit(logic, index, by=2):
    """Move the contour on a slice, and propagate."""
    logic.edit_slice(index, np.roll(logic.segment_mask()[index], by, axis=1), logic.plane)
    return logic.propagate()


def test_going_back_to_a_lesion_finds_its_history_its_doubt_and_its_undo_and_encodes_nothing(
    both, case, choose, encoded
):
    edit(both, 8)
    engine, doubt, history = both.session, both.doubt.per_slice_mm2, both.history
    a = both.segment_mask()
    choose("B")
    assert both.history == []
    edit(both, 7)
    edit(both, 9)
    b = both.segment_mask()
    assert [len(live.history) for live in both.sessions] == [1, 2]
    encoded.clear()

    choose("A")

    assert both.session is engine
    assert both.history == history
    assert np.array_equal(both.doubt.per_slice_mm2, doubt)
    assert np.array_equal(case.read(case.a), a)
    both.undo()
    both.redo()
    assert np.array_equal(case.read(case.a), a)
    assert np.array_equal(case.read(case.b), b)
    assert encoded["encode"] == 0


def test_propagating_and_undoing_one_lesion_never_writes_the_other(both, case, choose):
    edit(both, 8)
    a = case.read(case.a)
    choose("B")
    edit(both, 7)
    edit(both, 10)
    both.undo()
    both.undo()
    both.redo()
    assert np.array_equal(case.read(case.a), a)
    choose("A")
    b = case.read(case.b)
    both.undo()
    assert np.array_equal(case.read(case.b), b)
    assert np.array_equal(case.read(case.a)[8], np.roll(A[8], 2, axis=1))


def test_a_second_lesion_in_the_same_window_is_not_encoded_again_and_shares_its_features(logic, choose, encoded):
    choose("A")
    logic.predict()
    first = logic.session.cache.windows
    count = encoded["encode"]

    choose("B")
    check = logic.check()
    logic.predict(check=check)

    assert encoded["encode"] == count
    assert check.memory.kept_bytes == 0
    assert all(one is other for one, other in zip(logic.session.cache.windows, first, strict=True))


def test_what_comes_of_a_lesion_is_the_same_beside_others_as_alone(both, case, bundle, choose):
    edit(both, 8)
    choose("B")
    edit(both, 7)
    beside = case.read(case.b)
    both.undo()
    both.close_session()
    case.paint(case.b, B)

    alone = ContextPropagationLogic(case.scene)
    alone.plane, alone.loaded = both.plane, quick_model(bundle)
    alone.select([case.volume], case.segmentation, "B")
    alone.predict(keep_drawn=False)
    edit(alone, 7)

    assert np.array_equal(case.read(case.b), beside)
    alone.close()


def test_what_the_editor_undid_of_a_lesion_that_was_not_in_use_is_found_on_going_back(both, case, choose):
    from segment_editors import SegmentEditor

    editor = SegmentEditor(case.scene, case.segmentation, case.volume)
    editor.node.SetSelectedSegmentID(case.a)
    case.paint(case.a, np.where(np.arange(16)[:, None, None] == 8, np.roll(A, 2, axis=2), A))
    both.use_writer(editor.writer())
    both.propagate()
    choose("B")
    editor.logic.Undo()

    choose("A")

    assert both.history == []
    assert [one.index for one in both.redrawn()] == [8]


@pytest.mark.parametrize("what", ["preview", "run"])
def test_a_preview_or_a_run_of_one_lesion_keeps_it_in_use_and_nothing_is_lost(both, case, choose, what):
    both.edit_slice(8, np.roll(A[8], 2, axis=1), both.plane)
    operation = both.propagate_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    pending = operation.finish(computed) if what == "preview" else None

    with pytest.raises(UserInputError, match="finish, cancel or discard it first"):
        choose("B")

    assert both.selection.segment_id == case.a
    assert both.lesions()[0].state == {"preview": "preview", "run": "running"}[what]
    both.apply(pending or operation.finish(computed))
    choose("B")
    assert both.selection.segment_id == case.b


def test_a_deleted_segment_takes_its_session_along_and_no_other(both, case, choose):
    edit(both, 8)
    case.segmentation.GetSegmentation().RemoveSegment(case.b)

    assert [lesion.name for lesion in both.lesions()] == ["A"]
    both.forget_gone()

    assert [live.selection.segment_id for live in both.sessions] == [case.a]
    assert len(both.history) == 1
    both.undo()


def test_a_deleted_volume_ends_the_sessions_of_all_its_lesions(both, case):
    case.scene.RemoveNode(case.volume)
    both.forget_gone()
    assert both.sessions == ()
    assert both.selection is None


def test_another_volume_or_another_model_closes_all(both, case, bundle, choose):
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    other = add_volume(case.scene, case.source, "another CT")
    both.select([other], case.segmentation, "A")
    assert both.sessions == ()

    choose("A")
    both.predict(keep_drawn=False)
    assert len(both.sessions) == 1
    both.load_model(bundle, device="cpu")
    assert both.sessions == ()


def test_a_lesion_that_is_predicted_again_keeps_the_others(both, case, choose):
    edit(both, 8)
    choose("B")
    both.predict()
    choose("A")
    assert len(both.history) == 1
    assert len(both.sessions) == 2


def test_a_start_that_is_cancelled_leaves_the_other_lesion_as_it_was(logic, case, choose):
    from context_propagation.core.errors import Cancelled

    choose("A")
    logic.predict()
    edit(logic, 8)
    choose("B")
    with pytest.raises(Cancelled):
        logic.predict_operation().run(cancelled=lambda: True)
    assert logic.session is None

    choose("A")
    assert len(logic.history) == 1
    logic.undo()


def test_a_start_is_refused_once_another_segment_was_chosen(logic, choose):
    choose("A")
    operation = logic.predict_operation()
    choose("B")
    with pytest.raises(UserInputError, match="changed meanwhile; press Predict"):
        operation.begin()
    assert logic.sessions == ()


# -- memory


class Memory:
    """The free memory of a computer, of which the caches take their part."""

    def __init__(self, logic, beside):
        self._logic, self._total = logic, beside

    def __call__(self, device=None):
        from context_propagation.core.device import USABLE_SHARE

        boxes = {id(window): live for live in self._logic.sessions for window in live.session.cache.windows}
        taken = sum(live.session.cache.cached_bytes() for live in set(boxes.values()))
        return int(USABLE_SHARE * (self._total - taken))


def test_where_memory_is_short_the_lesion_that_was_used_least_recently_is_closed_and_named(
    make_case, bundle, monkeypatch
):
    case = make_case(shape=(48, 16, 16))
    logic = ContextPropagationLogic(case.scene)
    logic.loaded = quick_model(bundle)
    grid = np.indices(case.shape)
    for name, k in (("A", 6), ("B", 24), ("C", 41)):
        case.add(sum((g - c) ** 2 for g, c in zip(grid, (k, 8, 8), strict=True)) <= 6, name)
    from context_propagation.core.session.session_settings import SessionSettings

    monkeypatch.setattr(type(logic.loaded), "settings", lambda self, settings=None: SessionSettings(window_border=1))
    choose = lambda name: logic.select([case.volume], case.segmentation, name)  # noqa: E731
    choose("A")
    alone = logic.check().memory
    two = (alone.kept_bytes + alone.peak_bytes + 1) / 0.8 + 1
    for module in ("memory_forecast", "window_extension"):
        monkeypatch.setattr(f"context_propagation.core.session.{module}.available_bytes", Memory(logic, two))
    for name in ("A", "B"):
        choose(name)
        logic.predict()
    assert len(logic.sessions) == 2
    choose("A")
    choose("C")

    check = logic.check()
    logic.predict(check=check)

    assert "Memory is short beside other lesions: 'B' will be closed. Its edits stay in the scene" in check.warnings[-1]
    assert [live.selection.name for live in logic.sessions] == ["A", "C"]
    monkeypatch.setattr(
        "context_propagation.core.session.memory_forecast.available_bytes", Memory(logic, alone.peak_bytes / 2)
    )
    choose("B")
    with pytest.raises(UserInputError, match="MiB may be used"):
        logic.check()
    assert len(logic.sessions) == 2
    logic.close()


# -- a lesion that the model missed


def test_an_empty_segment_beside_another_lesion_starts_empty_and_one_drawn_slice_is_propagated(logic, case, choose):
    choose("A")
    logic.predict()
    missed = case.add(np.zeros(SHAPE, bool), "missed")
    choose("missed")
    check = logic.check()
    assert check.is_empty
    assert check.beside == ("A",)

    report = logic.predict(check=check, fill=False)

    assert report.written == 0
    assert not case.read(missed).any()
    drawn = ball((10, 4, 12), 2.5)[10]
    logic.edit_slice(10, drawn, logic.plane)
    done = logic.propagate()

    result = case.read(missed)
    assert np.array_equal(result[10], drawn)
    assert done.result.changed.sum() == result.sum() - drawn.sum()
    assert np.array_equal(case.read(case.a), A)
    logic.undo()
    assert np.array_equal(np.flatnonzero(case.read(missed).any(axis=(1, 2))), [10])


def test_a_missed_lesion_is_drawn_on_a_finer_grid_after_a_slice_of_it_was_confirmed_and_replayed_from_the_scene(
    logic, case, choose, bundle
):
    missed = case.add(np.zeros(SHAPE, bool), "missed")
    choose("missed")
    logic.predict(fill=False)
    assert logic.confirm_slices([9], logic.plane) == (9,)
    fine = np.diag([1 / 2, 1 / 2, 1 / 2, 1])
    fine[:3, 3] = -1 / 4
    drawn = np.zeros(SHAPE, bool)
    drawn[11] = ball((11, 4, 12), 2.5)[11]
    finer = case.add_on_grid(fine, tuple(2 * n for n in SHAPE), case.nearest(drawn), "finer")
    segmentation = case.segmentation.GetSegmentation()
    segmentation.GetSegment(missed).DeepCopy(segmentation.GetSegment(finer))

    logic.propagate()

    result = case.read(missed)
    assert np.array_equal(result[11], drawn[11])
    assert not result[9].any()
    logic.close()
    other = ContextPropagationLogic(case.scene)
    other.plane, other.loaded = logic.plane, quick_model(bundle)
    other.select([case.volume], case.segmentation, missed)
    other.restore()
    assert [[one.index for one in done.slices] for done in other.history] == [[9], [11]]
    assert np.array_equal(case.read(missed), result)
    assert other.redrawn() == []
    other.close()


def test_what_the_model_predicts_elsewhere_is_not_written_into_a_segment_that_was_started_empty(logic, case, choose):
    """The drawing is what the model found on that slice already: it moves nothing, and adds nothing."""
    predicted = logic.loaded.model.predict(logic.loaded.model.prepare(case.source))
    index = int(predicted.sum(axis=(1, 2)).argmax())
    segment = case.add(np.zeros(SHAPE, bool), "empty")
    choose("empty")
    logic.predict(fill=False)
    logic.edit_slice(index, predicted[index], logic.plane)

    logic.propagate()

    written = segment_mask(case.segmentation, segment, case.volume)
    assert np.array_equal(written[index], predicted[index])
    assert not np.delete(written, index, 0).any()


# -- the table


def test_the_table_says_name_volume_state_and_edits(both, case, choose):
    voxel_ml = 0.8 * 1.1 * 2.5 / 1000
    edit(both, 8)
    case.paint(case.b, B | ball((7, 11, 11), 3.5))

    a, b = both.lesions()

    assert (a.name, a.state, a.edits) == ("A", "ready", 1)
    assert a.volume_ml == pytest.approx(case.read(case.a).sum() * voxel_ml)
    assert (b.name, b.state, b.edits) == ("B", "redrawn", 0)
    assert b.volume_ml == pytest.approx((B | ball((7, 11, 11), 3.5)).sum() * voxel_ml)
    both.confirm_slices([3, 4], both.plane)
    assert both.lesions()[0].edits == 3


def test_a_lesion_whose_image_was_moved_says_so(both, case):
    moved = np.eye(4)
    moved[0, 3] = 5.0
    case.volume.SetAndObserveTransformNodeID(case.transform(moved).GetID())
    assert [lesion.state for lesion in both.lesions()] == ["moved or changed"] * 2


# -- a model with several labels


@pytest.fixture
def two_labels(case, tmp_path, monkeypatch):
    """An nnU-Net of two labels; A is started for the first, B for the second."""
    folder = write_nnunet_folder(
        tmp_path / "two",
        seed=1,
        spacing=(2.5, 1.1, 0.8),
        features=(2, 4, 4),
        labels={"background": 0, "GTVp": 1, "GTVn": 2},
    )
    logic = ContextPropagationLogic(case.scene)
    logic.plane = case.source.plane_of_axis[0]
    case.a, case.b = case.add(A, "A"), case.add(B, "B")
    logic.load_model(folder, "GTVp", device="cpu")
    logic.select([case.volume], case.segmentation, "A")
    logic.predict()
    yield logic, folder
    logic.close()


def test_a_second_label_of_a_model_is_loaded_at_once_and_shares_networks_image_and_features(
    two_labels, case, monkeypatch
):
    logic, folder = two_labels
    first, windows = logic.loaded.model, logic.session.cache.windows
    monkeypatch.setattr(type(first), "prepare", None)
    monkeypatch.setattr(first.splits[0], "encode", None)

    logic.load_model(folder, "GTVn", device="cpu")
    logic.select([case.volume], case.segmentation, "B")
    logic.predict()

    second = logic.loaded.model
    assert (first.target_name, second.target_name) == ("GTVp", "GTVn")
    assert second.splits is first.splits
    assert all(one is other for one, other in zip(logic.session.cache.windows, windows, strict=True))
    assert (logic.session.window_prediction != logic.sessions[0].session.window_prediction).any()


def test_what_the_second_label_decodes_is_as_if_the_model_was_loaded_for_it(two_labels, case):
    from context_propagation.core.bundle.bundle import load_model

    logic, folder = two_labels
    logic.load_model(folder, "GTVn", device="cpu")
    logic.select([case.volume], case.segmentation, "B")
    logic.predict()
    edit(logic, 7)

    alone = load_model(folder, "GTVn", "cpu").with_general_far().session(logic.session.settings)
    from context_propagation.core.image.slices import SliceEdit

    alone.set_image(case.source, B)
    alone.propagate([SliceEdit(0, 7, np.roll(B[7], 2, axis=1))])
    assert np.array_equal(alone.segmentation, case.read(case.b))


def test_going_on_with_a_lesion_brings_its_label_back(two_labels, case):
    logic, folder = two_labels
    edit(logic, 8)
    a = logic.selection
    logic.load_model(folder, "GTVn", device="cpu")
    assert logic.propagation is None  # A was started for the other label
    logic.select([case.volume], case.segmentation, "B")
    logic.predict()

    assert logic.go_on_with(a)

    assert logic.loaded.model.target_name == "GTVp"
    assert len(logic.history) == 1
    logic.load_model(folder, "GTVp", device="cpu")
    assert len(logic.history) == 1
    with pytest.raises(UserInputError, match="no label 'GTVx'"):
        logic.load_model(folder, "GTVx", device="cpu")
    assert len(logic.sessions) == 2
