"""Several edits of one image, jointly and one at a time: what holds through any order of edits, undos and redos."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.activation_update import update_features
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.propagation.updated_features import with_updates
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder
from slice_losses import loss_of_slices
from small_sessions import ball, volume

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (18, 16, 14)
MODES = ["joint", "one at a time"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8)), device="cpu")


@pytest.fixture(scope="module")
def fusion(model):
    return random_fusion(model)


def started(model, mode, fusion=None, iterations=3, far_rule="average", tidy=True):
    update = UpdateSettings(iterations=iterations)
    session = Session(
        model, SessionSettings(update=update, neighbours=1, several_edits=mode, far_rule=far_rule, tidy=tidy), fusion
    )
    session.set_image(volume(SHAPE), ball(SHAPE, radius=5))
    return session


def moved(session, index, axis=0, by=2):
    """The untouched slice, moved: an edit that says something new."""
    mask = np.roll(session.window_prediction.take(index, axis), by, axis=0)
    mask[2:5, 2:5] = ~mask[2:5, 2:5]
    return SliceEdit(axis, index, mask)


def loss_on(session, edit, features):
    """The loss of one slice under features, of the only window and fold."""
    cache = session.cache
    (window,) = cache.windows
    f = with_updates(window.features[0].f, 0, 0, features)
    with torch.no_grad():
        logits = session.model.splits[0].decode(window.features[0], f, True)
        target = session.propagation.network_edit([edit]).target(window.image_box)
        origin = tuple(start for start, _ in window.network_box)
        return float(loss_of_slices(session.model, cache.prepared.grid, logits, origin, target))


# ---- jointly


def test_the_joint_update_satisfies_both_drawings_better_than_the_untouched_features(model):
    session = started(model, "joint")
    first, second = moved(session, 6), moved(session, 10)
    session.propagate([first])
    session.propagate([second])
    (record,) = session.records
    assert [edit.index for edit in record.edits] == [6, 10]
    for edit in (first, second):
        assert loss_on(session, edit, record.features) < loss_on(session, edit, ())


def test_a_joint_update_starts_from_the_last_one(model):
    together = started(model, "joint")
    edits = [moved(together, 6), moved(together, 10)]
    (cold,) = together.propagate(edits).updates
    session = started(model, "joint")
    session.propagate(edits[:1])
    (warm,) = session.propagate(edits[1:]).updates
    assert warm.loss_before < cold.loss_before
    assert warm.loss_after < cold.loss_before


def test_near_slices_of_all_drawn_slices_come_from_the_joint_update(model):
    session = started(model, "joint")
    session.propagate([moved(session, 6)])
    alone = {near.index: near.labels for near in session.records[0].near}
    session.propagate([moved(session, 10)])
    (record,) = session.records
    assert {near.index for near in record.near} <= {5, 6, 7, 9, 10, 11}
    assert {near.index for near in record.near} & {5, 6, 7}
    assert {near.index for near in record.near} & {9, 10, 11}
    assert set(alone) <= {5, 6, 7}


def test_edits_of_another_axis_are_not_joined(model):
    session = started(model, "joint")
    session.propagate([moved(session, 6)])
    session.propagate([moved(session, 8, axis=1)])
    session.propagate([moved(session, 10)])
    assert [[(edit.axis, edit.index) for edit in record.edits] for record in session.records] == [
        [(1, 8)],
        [(0, 6), (0, 10)],
    ]
    assert [record.drawn_at for record in session.records] == [(2,), (1, 3)]


def test_after_undo_the_next_edit_starts_from_the_features_before(model):
    session, straight = started(model, "joint"), started(model, "joint")
    first, other, last = moved(session, 6), moved(session, 10, by=4), moved(session, 11)
    for each in (session, straight):
        each.propagate([first])
    session.propagate([other])
    session.undo()
    result, expected = session.propagate([last]), straight.propagate([last])
    assert result.updates == expected.updates
    assert np.array_equal(result.segmentation, expected.segmentation)


def test_after_redo_the_next_edit_starts_from_the_features_redone(model):
    session, straight = started(model, "joint"), started(model, "joint")
    first, second, last = moved(session, 6), moved(session, 10), moved(session, 12)
    for each in (session, straight):
        each.propagate([first])
        each.propagate([second])
    session.undo()
    session.undo()
    session.redo()
    session.redo()
    assert session.propagate([last]).updates == straight.propagate([last]).updates


def test_the_proximal_term_holds_features_near_the_untouched_ones_wherever_the_search_starts():
    # min over f of (f - 3)^2 + w (f - 0)^2 / n for one value: f = 3 / (1 + w / n); here w = 2, n = 4: f = 2
    for start in (0.0, 2.9, 30.0):
        f, report = update_features(
            torch.zeros(1, 1, 1, 1, 1),
            lambda f: ((f - 3) ** 2).sum(),
            4,
            UpdateSettings(iterations=50, proximal_weight=2.0),
            start=torch.full((1, 1, 1, 1, 1), start),
        )
        assert float(f) == pytest.approx(2.0, abs=1e-4)
        assert report.loss_before == pytest.approx((start - 3) ** 2, rel=1e-4)


def test_a_confirmed_slice_takes_part_in_later_joint_updates(model):
    session = started(model, "joint")
    session.propagate([moved(session, 6)])
    confirmed = SliceEdit(0, 9, session.window_prediction[9])
    assert not session.propagate([confirmed]).changed.any()
    session.propagate([moved(session, 11)])
    (record,) = session.records
    assert [edit.index for edit in record.edits] == [6, 9, 11]


def test_a_drawing_taken_back_to_r_0_is_optimised_again_with_the_others(model):
    session = started(model, "joint")
    session.propagate([moved(session, 6), moved(session, 8)])
    result = session.propagate([SliceEdit(0, 8, session.window_prediction[8])])
    (record,) = session.records
    assert [edit.index for edit in record.edits] == [6, 8]
    assert len(result.updates) == 1
    assert not record.satisfied


# ---- one at a time


def test_one_at_a_time_optimises_each_edit_alone_from_the_untouched_features(model):
    session, alone = started(model, "one at a time"), started(model, "one at a time")
    second = moved(session, 10)
    session.propagate([moved(session, 6)])
    assert session.propagate([second]).updates == alone.propagate([second]).updates
    assert [[edit.index for edit in record.edits] for record in session.records] == [[6], [10]]
    assert all(record.features == () for record in session.records)  # nothing starts from them


def test_one_at_a_time_leaves_near_slices_to_the_earlier_edit(model):
    session = started(model, "one at a time")
    session.propagate([moved(session, 6)])
    first = session.segmentation.copy()
    session.propagate([moved(session, 8)])
    assert np.array_equal(session.segmentation[5:8], first[5:8])  # 7 is near to both


@pytest.mark.parametrize("far_rule", ["average", "latest"])
def test_far_slices_average_the_edits_so_far_or_follow_the_latest(model, fusion, far_rule):
    session = started(model, "one at a time", fusion, far_rule=far_rule, tidy=False)
    edits = [moved(session, 2), moved(session, 14, by=4)]
    for edit in edits:
        session.propagate([edit])
    single = []
    for edit in edits:
        alone = started(model, "one at a time", fusion)
        alone.propagate([edit])
        single.append(alone.records[0].far.values.astype(np.float32))
    decides = (single[0] + single[1]) / 2 if far_rule == "average" else single[1]
    r_0, far = session.window_prediction, slice(4, 13)
    clear = np.abs(decides[far]) > 1e-3
    expected = np.where((decides > 0) != r_0, decides > 0, session.initial)[far]
    assert np.array_equal(session.segmentation[far][clear], expected[clear])
    assert ((single[0] > 0) != (single[1] > 0))[far].any()


def test_unknown_rules_are_refused_by_name():
    with pytest.raises(UserInputError, match="'both'; choose joint or one at a time"):
        SessionSettings(several_edits="both")
    with pytest.raises(UserInputError, match="'first' for far slices; choose latest or average"):
        SessionSettings(far_rule="first")


# ---- any order of edits, undos, redos and changes by hand


@dataclass
class Follower:
    """What must hold, followed beside a session: drawings in their order, and when voxels were changed by hand."""

    session: Session
    clock: int = 0
    drawings: tuple = ()  # (time, edit), in the order of drawing
    past: list = field(default_factory=list)  # (drawings, segmentation) before and after each propagation
    future: list = field(default_factory=list)
    by_hand: np.ndarray = field(default_factory=lambda: np.full(SHAPE, -1))

    def edit(self, edits):
        before, drawings = self.session.segmentation.copy(), self.drawings
        result = self.session.propagate(edits)
        redrawn = {(edit.axis, edit.index) for edit in edits}
        kept = [drawing for drawing in drawings if (drawing[1].axis, drawing[1].index) not in redrawn]
        self.drawings = (*kept, *((self.clock, edit) for edit in edits))
        self.past.append((drawings, before, self.drawings, self.session.segmentation.copy()))
        self.future.clear()
        assert not (result.changed & (self.by_hand >= 0)).any()
        rest = np.ones(SHAPE, bool)
        for edit in edits:
            np.moveaxis(rest, edit.axis, 0)[edit.index] = False
        assert np.array_equal((before != self.session.segmentation) & rest, result.changed)

    def undo(self):
        assert self.session.undo() == bool(self.past)
        if self.past:
            self.future.append(self.past.pop())
            self.drawings, before, _, _ = self.future[-1]
            since = self.by_hand >= self._time_of(self.future[-1])
            assert np.array_equal(self.session.segmentation[~since], before[~since])
            if not since.any():
                assert np.array_equal(self.session.segmentation, before)

    def redo(self):
        assert self.session.redo() == bool(self.future)
        if self.future:
            self.past.append(self.future.pop())
            _, _, self.drawings, after = self.past[-1]
            since = self.by_hand >= self._time_of(self.past[-1])
            assert np.array_equal(self.session.segmentation[~since], after[~since])

    def change_by_hand(self, box):
        changed = self.session.segmentation.copy()
        changed[box] ^= True
        self.session.accept_manual_changes(changed)
        self.by_hand[box] = self.clock
        self.future.clear()

    def check(self):
        shown, drawn_at = np.zeros(SHAPE, bool), np.full(SHAPE, -1)
        for time, edit in self.drawings:
            np.moveaxis(shown, edit.axis, 0)[edit.index] = edit.mask
            np.moveaxis(drawn_at, edit.axis, 0)[edit.index] = time
        must_hold = drawn_at > self.by_hand
        assert np.array_equal(self.session.segmentation[must_hold], shown[must_hold])
        self.clock += 1

    @staticmethod
    def _time_of(step):
        return max(time for time, _ in step[2])


INDICES = [5, 6, 8, 11]
edits = st.tuples(
    st.just("edit"),
    st.integers(0, 2),
    st.lists(st.sampled_from(INDICES), min_size=1, max_size=2, unique=True),
    st.sampled_from(["moved", "square", "empty", "as R_0", "as it is"]),
)
changes = st.tuples(st.just("by hand"), st.tuples(*[st.integers(2, 9)] * 3))
steps = st.lists(
    st.one_of(edits, edits, changes, st.just(("undo",)), st.just(("undo",)), st.just(("redo",))), min_size=2, max_size=7
)


def drawing(session, axis, index, kind):
    now = session.segmentation.take(index, axis)
    square = np.zeros_like(now)
    square[4 : 6 + index // 2, 5:9] = True
    masks = {
        "moved": np.roll(now, 2, axis=1),
        "square": square,
        "empty": np.zeros_like(now),
        "as R_0": session.window_prediction.take(index, axis),
        "as it is": now.copy(),
    }
    return SliceEdit(axis, index, masks[kind])


@pytest.mark.quick(mode="joint", walks=12)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("walks", [12, 40])
def test_drawn_slices_are_as_drawn_and_undo_is_exact_through_any_order_of_steps(model, fusion, mode, walks):
    @settings(max_examples=walks, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(steps=steps)
    def walk(steps):
        follower = Follower(started(model, mode, fusion, iterations=1))
        for step in steps:
            if step[0] == "edit":
                _, axis, indices, kind = step
                follower.edit([drawing(follower.session, axis, index, kind) for index in indices])
            elif step[0] == "by hand":
                follower.change_by_hand(tuple(slice(start, start + 3) for start in step[1]))
            else:
                getattr(follower, step[0])()
            follower.check()

    walk()
