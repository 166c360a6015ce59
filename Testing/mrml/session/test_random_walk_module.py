"""A random walk over the logic with its own writer, as module and console use it: others paint, the logic undoes.

A model in numpy says after each action what every segment is, and whether Undo and Redo are refused.
"""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import part_of_segment

SHAPE = (12, 12, 12)


@dataclass(eq=False)
class Propagated:
    """One propagation: the segment before it was redrawn, as redrawn, after it, and what Undo took back of it.

    A confirmation is one that changes nothing. `slices` are those drawn and confirmed, `rejected` the voxels not taken.
    """

    known: np.ndarray
    drawn: np.ndarray
    after: np.ndarray
    slices: frozenset
    rejected: np.ndarray
    taken: np.ndarray | None = None

    @property
    def flipped(self):
        return self.drawn ^ self.after


class World:
    """What should be: segments by name, and the propagations that are in one, and those taken back."""

    def __init__(self, masks):
        self.masks = masks
        self.start()

    def start(self):
        self.known = self.left = self.masks["GTV"]  # left: as the logic left it
        self.done, self.undone = [], []

    def propagated(self, mask, slices, rejected):
        self.done.append(Propagated(self.known, self.masks["GTV"], mask, frozenset(slices), rejected))
        self.known = self.left = self.masks["GTV"] = mask
        self.undone.clear()

    def confirmed(self, slices):
        nothing = np.zeros(SHAPE, bool)
        self.done.append(Propagated(self.known, self.known, self.known, frozenset(slices), nothing))
        self.undone.clear()

    @property
    def claimed(self):
        """Slices that were drawn or confirmed."""
        return set().union(*(one.slices for one in self.done))

    @property
    def redrawn(self):
        return set(np.flatnonzero((self.masks["GTV"] ^ self.known).any((1, 2))).tolist())

    @property
    def untouchable(self):
        """What no propagation may write: drawn and confirmed slices, and voxels that were rejected."""
        voxels = np.zeros(SHAPE, bool)
        voxels[sorted(self.claimed)] = True
        return voxels | np.any([voxels, *(one.rejected for one in self.done)], axis=0)

    def step(self, back):
        """Undo or redo; False where it is refused."""
        steps = self.done if back else self.undone
        if not steps:
            return False
        one, mask = steps[-1], self.masks["GTV"]
        if one.flipped.any():
            as_left = np.array_equal(mask, self.left) or (back and np.array_equal(mask, one.after))
            if not as_left or (not back and one.taken is None):
                return False
            taken = one.taken
            if back:  # what was redrawn since stays
                taken = one.flipped & (mask == one.after)
                for later in self.undone:
                    taken &= ~((later.known ^ later.drawn) & (mask == later.drawn))
            self.left = self.masks["GTV"] = mask ^ taken
            one.taken = taken if back else None
        self.move(back)
        return True

    def move(self, back):
        """A propagation goes from one list to the other."""
        steps, others = (self.done, self.undone) if back else (self.undone, self.done)
        others.append(steps.pop())
        self.known = others[-1].known if back else others[-1].after


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
        self.plane = self.logic.plane = self.case.source.plane_of_axis[0]
        self.start()

    def start(self):
        self.logic.select([self.case.volume], self.case.segmentation, "GTV")
        self.logic.predict()
        self.world.start()

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
        slices = {edit.index for edit in pending.edits}
        assert not pending.result.changed[sorted(slices)].any()
        assert not (pending.result.changed & self.world.untouchable).any()
        wanted = np.where(pending.result.changed, pending.result.segmentation, drawn)
        if self.rng.random() < 0.25:
            self.logic.discard(pending)
            return None
        rejected = np.zeros(SHAPE, bool)
        if self.rng.random() < 0.5:
            pending, rejected, confirmed = self.reject_part(pending, slices)
            slices |= confirmed
        self.logic.apply(pending)
        self.world.propagated(np.where(rejected, drawn, wanted), slices, rejected)
        return None

    def reject_part(self, pending, drawn):
        """Half of the changed slices, and what is changed in a box."""
        changed = pending.result.changed
        slices = sorted(set(pending.result.changed_per_slice) - drawn - self.world.claimed)[::2]
        region = np.zeros(SHAPE, bool)
        k, j, i = self.rng.integers(0, 9, 3)
        region[k : k + 3, j : j + 4, i : i + 4] = True
        rejected = changed & region
        rejected[slices] = changed[slices]
        pending = self.logic.reject(pending, slices, region)
        assert np.array_equal(pending.result.changed, changed & ~rejected)
        return pending, rejected, set(slices)

    def confirm(self):
        """Two slices; refused where one was redrawn, or both are claimed already."""
        self.logic.redrawn()
        self.follow()
        wanted = set(self.rng.integers(2, 10, 2).tolist())
        left = wanted - self.world.claimed
        if not left or left & self.world.redrawn:
            with pytest.raises(UserInputError, match="was redrawn|choose one that was neither"):
                self.logic.confirm_slices(sorted(wanted), self.plane)
            return
        assert self.logic.confirm_slices(sorted(wanted), self.plane) == tuple(sorted(left))
        self.world.confirmed(left)

    def cancel(self):
        if not self.logic.redrawn():
            return self.follow()
        self.follow()
        asked, stop = iter(range(1000)), int(self.rng.integers(0, 6))
        with suppress(Cancelled):
            self.logic.discard(self.logic.propagate_operation(self.plane).run(cancelled=lambda: next(asked) >= stop))
        return None

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
        world = self.world
        while len(world.done) > self.logic.propagation.done_count:
            while not world.done[-1].flipped.any():  # those that wrote nothing go with the one before
                world.move(back=True)
            one = world.done[-1]
            assert not (world.masks["GTV"] ^ one.drawn)[one.flipped].any(), "undone without a reason"
            world.move(back=True)
        while len(world.done) < self.logic.propagation.done_count:
            one = world.undone[-1]
            assert not (world.masks["GTV"] ^ one.after)[one.flipped].any(), "redone without a reason"
            world.move(back=False)

    def check(self, action):
        for name, segment_id in self.ids.items():
            mask = part_of_segment(self.case.segmentation, segment_id, self.case.volume)
            assert np.array_equal(mask, self.world.masks[name]), f"{action}: '{name}' is not what was expected"
        hidden = self.case.scene.GetNodesByName("ContextPropagationSegmentWriter").GetNumberOfItems()
        assert hidden == 0, action


ACTIONS = {
    Walk.draw_from_a_script: 28,
    Walk.paint_as_someone_else: 8,
    Walk.propagate: 26,
    Walk.confirm: 8,
    Walk.cancel: 8,
    Walk.undo: 14,
    Walk.redo: 9,
    Walk.close_and_start_again: 2,
}


@pytest.mark.quick(count=30)
@pytest.mark.parametrize(("seed", "count"), [(0, 30), (0, 250), (1, 1000)])
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
