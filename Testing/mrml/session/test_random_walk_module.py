"""A random walk over the logic with its own writer, as module and console use it: others paint, the logic undoes.

A model in numpy says after each action what every segment is, and whether Undo and Redo are refused.
"""

import copy

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import part_of_segment

SHAPE = (12, 12, 12)
MAX_UNDO_STATES = 5  # of Slicer's segmentation history


class World:
    """What should be: segments by name, and the history of the logic's writer, which only its own writes enter."""

    def __init__(self, masks):
        self.masks = masks
        self.undo, self.redo = [], []
        self.left = None  # all segments as the writer left them
        self.done, self.undone = [], []  # of each propagation: the segment as drawn, and after it

    def snapshot(self):
        return copy.deepcopy(self.masks)

    def touched(self):
        """Whether somebody else has changed anything since the writer's last write."""
        return self.left is not None and any(not np.array_equal(self.left[n], self.masks[n]) for n in self.masks)

    def propagated(self, mask):
        drawn = self.masks["GTV"]
        if not np.array_equal(mask, drawn):
            if self.touched():
                self.undo.clear()
            self.undo = [*self.undo, self.snapshot()][-MAX_UNDO_STATES:]
            self.redo.clear()
            self.masks["GTV"] = mask
            self.left = self.snapshot()
        self.done.append((drawn, mask))
        self.undone.clear()

    def step(self, back):
        """Undo or redo; False where it is refused."""
        steps, others = (self.done, self.undone) if back else (self.undone, self.done)
        states, opposite = (self.undo, self.redo) if back else (self.redo, self.undo)
        if not steps:
            return False
        if (steps[-1][0] ^ steps[-1][1]).any():
            if self.touched() or not states:
                return False
            if back and not self.redo:  # the present state is kept too, and the oldest forgotten for it
                del self.undo[: max(0, len(self.undo) - (MAX_UNDO_STATES - 1))]
                if not self.undo:
                    return False
            opposite.append(self.snapshot())
            self.masks = states.pop()
            self.left = self.snapshot()
        others.append(steps.pop())
        return True


class Walk:
    def __init__(self, make_case, bundle, seed):
        self.rng = np.random.default_rng(seed)
        self.case = make_case(shape=SHAPE)
        grid = np.indices(SHAPE)
        ball = sum((g - 6) ** 2 for g in grid) <= 12
        self.world = World({"GTV": ball, "cord": np.roll(ball, 3, axis=2)})
        self.ids = {name: self.case.add(mask, name) for name, mask in self.world.masks.items()}
        self.logic = ContextPropagationLogic(self.case.scene)
        self.logic.load_model(bundle, device="cpu")
        self.plane = self.case.source.plane_of_axis[0]
        self.start()

    def start(self):
        self.logic.select([self.case.volume], self.case.segmentation, "GTV")
        self.logic.predict()
        self.world.undo.clear()
        self.world.redo.clear()
        self.world.left = None
        self.world.done.clear()
        self.world.undone.clear()

    # -- actions

    def draw_from_a_script(self):
        index = int(self.rng.integers(2, 10))
        mask = np.roll(self.world.masks["GTV"][index], self.rng.integers(-2, 3, 2), axis=(0, 1))
        self.logic.edit_slice(index, mask, self.plane)
        self.world.masks["GTV"] = self.world.masks["GTV"].copy()
        self.world.masks["GTV"][index] = mask

    def paint_as_someone_else(self):
        name = str(self.rng.choice(["GTV", "cord"]))
        wanted = self.world.masks[name].copy()
        k, j, i = self.rng.integers(2, 9, 3)
        wanted[k, j : j + 2, i : i + 2] ^= True
        self.case.paint(self.ids[name], wanted)
        self.world.masks[name] = wanted

    def propagate(self):
        if not self.logic.redrawn():
            return self.follow()
        self.follow()
        pending = self.logic.propagate_operation(self.plane).run()
        drawn = self.world.masks["GTV"]
        slices = sorted({edit.index for edit in pending.edits})
        assert not pending.result.changed[slices].any()
        if self.rng.random() < 0.25:
            self.logic.discard(pending)
            self.world.undone.clear()
            return None
        self.logic.apply(pending)
        self.world.propagated(np.where(pending.result.changed, pending.result.segmentation, drawn))
        return None

    def cancel(self):
        if not self.logic.redrawn():
            return self.follow()
        self.follow()
        asked, stop = iter(range(1000)), int(self.rng.integers(0, 6))
        try:
            pending = self.logic.propagate_operation(self.plane).run(cancelled=lambda: next(asked) >= stop)
        except Cancelled:
            return self.after_cancel()
        self.logic.discard(pending)
        self.world.undone.clear()
        return None

    def after_cancel(self):
        """Cancelled late, the engine had forgotten what was undone."""
        if not self.logic.propagation.can_redo:
            self.world.undone.clear()

    def undo(self):
        self.step(True, self.logic.undo)

    def redo(self):
        self.step(False, self.logic.redo)

    def step(self, back, act):
        if self.world.step(back):
            act()
        else:
            with pytest.raises(UserInputError):
                act()

    def close_and_start_again(self):
        self.logic.close_session()
        self.start()

    # -- after each action

    def steps(self):
        propagation = self.logic.propagation
        return propagation.done_count, propagation.can_redo

    def follow(self):
        """Where someone painted all voxels of a propagation back by hand, it counts as undone; or as redone."""
        done, undone = self.world.done, self.world.undone
        while len(done) > self.logic.propagation.done_count:
            while not np.bitwise_xor(*done[-1]).any():  # those that wrote nothing go with the one before
                undone.append(done.pop())
            before, after = done[-1]
            assert not np.bitwise_xor(self.world.masks["GTV"], before)[np.bitwise_xor(before, after)].any(), (
                "undone without a reason"
            )
            undone.append(done.pop())
        while len(done) < self.logic.propagation.done_count:
            before, after = undone[-1]
            assert not np.bitwise_xor(self.world.masks["GTV"], after)[np.bitwise_xor(before, after)].any(), (
                "redone without a reason"
            )
            done.append(undone.pop())

    def check(self, action):
        for name, segment_id in self.ids.items():
            mask = part_of_segment(self.case.segmentation, segment_id, self.case.volume)
            assert np.array_equal(mask, self.world.masks[name]), f"{action}: '{name}' is not what was expected"
        hidden = self.case.scene.GetNodesByName("ContextPropagationSegmentWriter").GetNumberOfItems()
        assert hidden == 1, action


ACTIONS = {
    Walk.draw_from_a_script: 28,
    Walk.paint_as_someone_else: 8,
    Walk.propagate: 26,
    Walk.cancel: 8,
    Walk.undo: 14,
    Walk.redo: 9,
    Walk.close_and_start_again: 2,
}


@pytest.mark.quick(count=100)
@pytest.mark.parametrize(("seed", "count"), [(0, 100), (0, 250), (1, 250)])
def test_random_actions_of_scripts_and_others_are_as_the_model_in_numpy_says(make_case, tiny_bundle, seed, count):
    walk = Walk(make_case, tiny_bundle, seed)
    actions, weights = list(ACTIONS), np.array(list(ACTIONS.values()), float)
    counts = dict.fromkeys(actions, 0)

    for number in range(count):
        action = walk.rng.choice(actions, p=weights / weights.sum())
        counts[action] += 1
        action(walk)
        walk.check(f"action {number}, {action.__name__}")

    assert min(counts[Walk.propagate], counts[Walk.undo]) > count // 13
    walk.logic.close()
