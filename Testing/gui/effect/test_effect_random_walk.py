"""A user who does anything at any time: held after each action against a list of what the segment was."""

import numpy as np
import pytest

from as_a_user import click, settle
from effect_bench import EFFECT, SHAPE, ball, on_slices

ACTIONS = 90
FEW = 50
ORGAN = ball((8, 8, 8), (8, 8, 8)) & ~ball((8, 8, 8), (5, 6, 6))


class Walk:
    """Does things, and knows what the segment must be."""

    def __init__(self, bench, seed):
        self.bench, self.rng, self.axis = bench, np.random.default_rng(seed), seed % 3
        self.states, self.now = [bench.voxels()], 0

    @property
    def segment(self):
        return self.states[self.now]

    def add_state(self, mask):
        del self.states[self.now + 1 :]
        self.states.append(mask)
        self.now += 1

    def stroke(self):
        erases, axis = self.rng.random() < 0.3, self.axis
        centre, radii = self.rng.integers(6, 11, 3), self.rng.integers(4, 7, 3)
        mask = on_slices(ball(centre, radii), [centre[axis]], axis)
        after = self.segment & ~mask if erases else self.segment | mask
        changes = not np.array_equal(after, self.segment)  # Slicer itself goes back two steps where a stroke did not
        if changes and self.bench.editor.node.GetSelectedSegmentID() == "gtv":
            self.bench.editor.paint(mask, erases)
            self.add_state(after)

    def undo(self):
        if self.now > 0 and self.bench.editor.logic.CanUndo():
            self.bench.editor.undo()
            self.now -= 1

    def redo(self):
        if self.bench.editor.logic.CanRedo():
            self.bench.editor.redo()
            self.now += 1

    def press(self, name):
        button = getattr(self.bench.widgets, name)
        if button.enabled and not button.isHidden():
            click(button)
            return True
        return False

    def apply(self):
        if not self.bench.widgets.apply.enabled:
            return
        added, removed = self.bench.preview_masks()
        told = len(self.bench.application.texts("error"))
        self.press("apply")
        refused = len(self.bench.application.texts("error")) > told  # drawn in, and no event told of that yet
        if not refused and (added | removed).any():
            self.add_state((self.segment | added) & ~removed)

    def wait(self):
        self.bench.wait()

    def look(self):
        settle()

    def other_effect(self):
        self.bench.editor.setActiveEffect(EFFECT if self.bench.editor.effect is None else None)

    def other_segment(self):
        other = {"gtv": "organ", "organ": "gtv"}
        self.bench.editor.selectSegment(other[self.bench.editor.node.GetSelectedSegmentID()])

    def propagate_and_wait(self):
        self.look()
        self.press("propagate")
        self.wait()

    def start(self):
        """Start again; where slices were drawn before, they are kept or not."""
        self.bench.application.answers = [bool(self.rng.random() < 0.5)]
        if self.press("start"):
            self.wait()
        self.bench.application.answers = []

    def step(self):
        own = {"stroke": 5, "undo": 2, "redo": 1, "wait": 3, "look": 3, "other_effect": 1}
        own["other_segment"] = 1 if self.bench.editor.node.GetSelectedSegmentID() == "gtv" else 8
        shown = {"start": 1, "apply": 4, "propagate_and_wait": 5}
        pressed = {"propagate": 2, "discard": 1, "cancel": 1, "auto": 1, "show": 1}
        names = {**own, **(shown | pressed if self.bench.editor.effect else {"other_effect": 5})}
        name = str(self.rng.choice(list(names), p=np.array(list(names.values())) / sum(names.values())))
        self.press(name) if name in pressed else getattr(self, name)()
        return name


@pytest.mark.quick(actions=FEW)
@pytest.mark.parametrize(("seed", "actions"), [(0, FEW), *((seed, ACTIONS) for seed in range(4))])
def test_no_voxel_changes_that_was_not_drawn_or_applied(bench, seed, actions):
    bench.open_segment(ORGAN, "Organ")
    bench.editor.node.SetOverwriteMode(bench.editor.node.OverwriteNone)
    bench.open_segment(ball())
    bench.start()
    walk, done, applied = Walk(bench, seed), [], 0

    for _ in range(actions):
        done.append(walk.step())
        assert np.array_equal(bench.voxels(), walk.segment), " ".join(done[-14:])
        assert np.array_equal(bench.voxels("organ"), ORGAN), done
        assert len(bench.previews()) <= 1, done
        applied = max(applied, len(bench.logic.history))

    bench.wait()
    unforeseen = [m for m in bench.application.messages if m.details]
    assert not unforeseen, unforeseen
    assert applied, done
    assert bench.voxels().shape == SHAPE
    bench.editor.close()
    bench.wait()
    assert not bench.previews()
