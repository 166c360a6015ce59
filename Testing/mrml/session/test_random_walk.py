"""1,000 random actions over the MRML logic, compared after each one with a model in numpy that knows no MRML."""

import time

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.gui.work.worker import Worker
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.labelmap_images import image_from_mask
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segmentation_storage import load_segmentation
from context_propagation.mrml.nodes.segments import part_of_segment
from context_propagation.mrml.nodes.world_matrices import node_to_world, volume_ijk_to_world
from segment_editors import ADD, REMOVE, SegmentEditor
from walk_world import World

SHAPE = (12, 12, 12)
EDITOR, NODE = slicer.vtkMRMLSegmentEditorNode, slicer.vtkMRMLSegmentationNode
NOTHING = np.zeros(SHAPE, bool)


class Walk:
    """Does each action to both: the scene through the logic, and the world in numpy."""

    def __init__(self, make_case, bundle, seed, folder):
        self.rng = np.random.default_rng(seed)
        self.make_case, self.bundle, self.folder = make_case, bundle, folder
        self.logic, self.worker, self.coincidences, self.gone_on = None, Worker(), 0, 0
        self.counts = dict.fromkeys(ACTIONS, 0)
        self.begin()

    # -- scenes

    def begin(self):
        """A new scene with three segments."""
        self.case = self.make_case(shape=SHAPE)
        assert self.case.source.plane_of_axis[0] == "axial"
        grid = np.indices(SHAPE)
        ball = sum((g - 6) ** 2 for g in grid) <= 12
        wide, beside = sum((g - 6) ** 2 for g in grid) <= 30, np.roll(ball, 4, axis=2)
        self.ids = {name: self.case.add(mask, name) for name, mask in (("GTV", ball), ("ring", wide), ("cord", beside))}
        self.coincidences += self.world.coincidences if self.logic else 0
        self.world = World({"GTV": ball.copy(), "ring": wide.copy(), "cord": beside.copy()})
        self.enter(self.case.scene, self.case.volume, self.case.segmentation)
        self.start()

    def enter(self, scene, volume, segmentation):
        """An editor and a logic on a scene."""
        self.scene, self.volume, self.segmentation = scene, volume, segmentation
        self.editor = SegmentEditor(scene, segmentation, volume)
        model = self.logic.loaded if self.logic else None
        if self.logic:
            self.logic.close()
        self.logic = ContextPropagationLogic(scene)
        self.logic.plane, self.logic.loaded = "axial", model
        self.world.live.clear()
        if model is None:
            self.logic.load_model(self.bundle, device="cpu")
        self.world.overwrite, self.world.inside = False, ""
        self.apply_editor_settings()

    def writer(self):
        return self.editor.writer()

    def select(self):
        self.logic.select([self.volume], self.segmentation, self.ids[self.world.selected])
        self.apply_editor_settings()

    def start(self):
        """Predict, with or without the slices that were drawn before."""
        self.select()
        goes_on = self.logic.propagation is not None
        if goes_on:
            self.follow()
        keeps, empty = bool(self.rng.random() < 0.7), not self.world.mask.any()
        check = self.logic.check() if self.rng.random() < 0.5 else None
        self.world.start(keeps, goes_on)
        self.run(self.logic.predict_operation(self.writer(), check, keeps))
        if keeps and not goes_on and not empty:
            self.world.keep_as_well({kept.index for kept in self.logic.kept})
        self.world.live.add(self.world.selected)
        if empty:
            self.world.stroke(self.logic.session.segmentation, NOTHING)
            self.world.start(keep_drawn=False)

    def apply_editor_settings(self):
        node, world = self.editor.node, self.world
        node.SetSelectedSegmentID(self.ids[world.selected])
        node.SetOverwriteMode(EDITOR.OverwriteAllSegments if world.overwrite else EDITOR.OverwriteNone)
        node.SetMaskMode(NODE.EditAllowedInsideSingleSegment if world.inside else NODE.EditAllowedEverywhere)
        node.SetMaskSegmentID(self.ids[world.inside] if world.inside else "")

    # -- runs

    def run(self, operation, meddle=lambda job: None):
        """On the worker's thread; `meddle` happens on this one while it runs."""
        results = []
        job = self.worker.submit(operation, results.append, results.append)
        meddle(job)
        assert self.worker.wait(60)
        if isinstance(results[0], BaseException) and not isinstance(results[0], Cancelled):
            raise results[0]
        return results[0]

    def propagation(self, meddle=lambda job: None):
        """What a propagation of what was drawn comes to; None where nothing was drawn."""
        try:
            operation = self.logic.propagate_operation()
        except UserInputError as error:
            assert "is unchanged" in str(error)  # noqa: PT017
            assert not self.world.redrawn
            return None
        return self.run(operation, meddle)

    # -- actions

    def edit(self):
        """Paint or erase a rectangle on an axial slice."""
        stroke, index = np.zeros(SHAPE, bool), int(self.rng.integers(2, 10))
        (j, i), (h, w) = self.rng.integers(2, 8, 2), self.rng.integers(1, 4, 2)
        stroke[index, j : j + h, i : i + w] = True
        adds = bool(self.rng.random() < 0.6)
        if not adds and self.world.inside:
            return  # Slicer's own erase inside one segment gives the voxels to that segment: not ours to model
        self.world.stroke(*((stroke, NOTHING) if adds else (NOTHING, stroke)))
        box = ((0, SHAPE[0]), (0, SHAPE[1]), (0, SHAPE[2]))
        own_ras = np.linalg.inv(node_to_world(self.segmentation)) @ volume_ijk_to_world(self.volume)
        self.editor.erase_or_paint(image_from_mask(stroke, box, own_ras), ADD if adds else REMOVE)

    def propagate(self):
        pending = self.propagation()
        if pending is None:
            return
        world, slices = self.world, {edit.index for edit in pending.edits}
        drawn = world.mask.copy()
        assert slices == world.redrawn
        assert all(np.array_equal(edit.mask, drawn[edit.index]) for edit in pending.edits)
        changed, wanted = pending.result.changed, pending.result.segmentation
        assert not changed[sorted(slices)].any(), "a drawn slice would be changed"
        assert not (changed & world.record.untouchable).any(), "what was drawn, confirmed or rejected would be changed"
        rejected = NOTHING
        if self.rng.random() < 0.4:
            pending, rejected = self.reject_part(pending)
            slices = slices | {edit.index for edit in pending.step.confirmed}
        taken = changed & ~rejected
        world.propagate(slices, taken & wanted & ~drawn, taken & ~wanted & drawn, rejected)
        self.logic.apply(pending)

    def reject_part(self, pending):
        """One changed slice, if there is one that may be confirmed, and what is changed in a box."""
        changed, claimed = pending.result.changed, {edit.index for edit in pending.edits} | self.world.record.drawn
        slices = sorted(set(pending.result.changed_per_slice) - claimed)[:1]
        region = NOTHING.copy()
        k, j, i = self.rng.integers(0, 9, 3)
        region[k : k + 3, j : j + 4, i : i + 4] = True
        rejected = changed & region
        rejected[slices] = changed[slices]
        pending = self.logic.reject(pending, slices, region)
        assert np.array_equal(pending.result.changed, changed & ~rejected)
        return pending, rejected

    def confirm(self):
        """Two slices; refused where one was redrawn, or both are claimed already."""
        self.follow()
        wanted = set(self.rng.integers(2, 10, 2).tolist())
        left = wanted.difference(*(one.slices for one in self.world.record.applied))
        if not left or left & self.world.redrawn:
            with pytest.raises(UserInputError, match="was redrawn|choose one that was neither"):
                self.logic.confirm_slices(sorted(wanted))
            return
        assert self.logic.confirm_slices(sorted(wanted)) == tuple(sorted(left))
        self.world.confirm(left)

    def take_confirmation_back(self):
        """The logic's own undo, where that is the last thing done."""
        self.follow()
        applied = self.world.record.applied
        if applied and not applied[-1].replayed and not self.logic.history[-1].edits:
            self.logic.undo()
            self.world.record.unapplied.append(applied.pop())

    def preview_and_discard(self):
        pending = self.propagation()
        if pending is not None:
            self.logic.discard(pending)

    def cancel(self):
        """At any time of the run; a cancel that comes after its end counts all the same."""
        seconds = float(self.rng.choice([0.0, 0.005, 0.02, 10.0]))

        def stop(job):
            end = time.monotonic() + seconds
            while job.outcome == (None, None) and time.monotonic() < end:
                time.sleep(0.001)
            job.cancel()

        stopped = self.propagation(stop)
        assert stopped is None or isinstance(stopped, Cancelled)

    def draw_while_it_runs(self):
        """What comes of the run is for a drawing that is no more: it is not applied."""
        before = self.world.mask.copy()
        pending = self.propagation(lambda job: self.edit())
        if pending is None:
            return
        if np.array_equal(before, self.world.mask):
            self.logic.discard(pending)
            return
        with pytest.raises(UserInputError, match="changed since it was propagated"):
            self.logic.apply(pending)

    def undo_in_editor(self):
        self.editor.logic.Undo()
        self.world.undo()

    def redo_in_editor(self):
        self.editor.logic.Redo()
        self.world.redo()

    def undo_is_refused_by_the_logic(self):
        """The editor's history is not Python's to call; where nothing was written, nothing of it is needed."""
        undoable = [one for one in self.world.record.applied if not one.replayed]
        if undoable and not undoable[-1].flipped.any():
            return
        with pytest.raises(UserInputError, match="Nothing to undo|Segment Editor"):
            self.logic.undo()

    def switch_segment(self):
        """Go on with another lesion where it has a session, else start on it."""
        self.follow()
        world = self.world
        others = sorted(set(self.ids) - {world.inside, world.selected})
        if not others:
            return
        world.selected = str(self.rng.choice(others))
        engines = sum(live.selection.is_there() for live in self.logic.sessions)  # choosing drops those that are gone
        self.select()
        if world.selected not in world.live:
            assert self.logic.propagation is None
            self.start()
            return
        assert len(self.logic.sessions) == engines
        self.logic.use_writer(self.writer())
        self.follow(drawn_over=True)
        self.gone_on += 1

    def switch_and_start_anew(self):
        """Without the session that it may have had."""
        self.follow()
        self.world.selected = str(self.rng.choice(sorted(set(self.ids) - {self.world.inside})))
        self.select()
        self.logic.close_session()
        self.world.live.discard(self.world.selected)
        self.start()

    def change_masks(self):
        self.world.overwrite = bool(self.rng.random() < 0.4)
        others = sorted(set(self.ids) - {self.world.selected})
        self.world.inside = str(self.rng.choice(others)) if self.rng.random() < 0.3 and others else ""
        self.apply_editor_settings()

    def delete_other_segment(self):
        others = sorted(set(self.ids) - {self.world.selected, "GTV"})
        if not others:
            return
        self.segmentation.GetSegmentation().RemoveSegment(self.ids.pop(others[0]))
        self.world.remove_segment(others[0])
        self.apply_editor_settings()
        self.editor.logic.ClearUndoState()  # as the editor widget does where segments are removed

    def delete_node(self):
        """At rest, or in the middle of a run."""
        node = self.segmentation if self.rng.random() < 0.5 else self.volume

        def delete(job=None):
            self.scene.RemoveNode(node)

        pending = self.propagation(delete) if self.rng.random() < 0.5 else None
        if pending is not None:
            with pytest.raises(UserInputError, match=f"'{node.GetName()}' was deleted"):
                self.logic.apply(pending)
        elif node.GetScene() is not None:
            delete()
        with pytest.raises(UserInputError, match=f"'{node.GetName()}' was deleted"):
            self.logic.propagate()
        self.begin()

    def close_scene(self):
        """At rest, or in the middle of a run."""
        if self.rng.random() < 0.5:
            self.propagation(lambda job: self.scene.Clear(False))
        self.scene.Clear(False)
        with pytest.raises(UserInputError, match="was deleted|waits to be applied or discarded"):
            self.logic.propagate()
        self.begin()

    def start_again(self):
        self.start()

    def close(self):
        """Close the session; then begin anew, or replay the edits that the scene holds."""
        self.follow()
        self.logic.close_session()
        if self.world.record.applied and self.rng.random() < 0.5:
            self.run(self.logic.restore_operation(self.writer()))
            self.world.replay()
            self.world.live.add(self.world.selected)
        else:
            self.start()

    def save_and_load_scene(self):
        self.follow()
        path = self.folder / "walk"
        self.logic.save(path.with_suffix(".seg.nrrd"))
        self.scene.SetURL(str(path.with_suffix(".mrml")))
        self.scene.Commit()
        image = self.volume.GetImageData()
        other = new_scene()
        other.SetURL(str(path.with_suffix(".mrml")))
        assert other.Import()
        volume, segmentation = (
            other.GetFirstNodeByClass(name) for name in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
        )
        volume.SetAndObserveImageData(image)
        loaded = load_segmentation(other, path.with_suffix(".seg.nrrd"))
        segmentation.GetSegmentation().DeepCopy(loaded.GetSegmentation())
        other.RemoveNode(loaded)
        self.world.forget_undo()
        self.enter(other, volume, segmentation)
        self.select()
        self.run(self.logic.restore_operation(self.writer()))
        self.world.replay()
        self.world.live.add(self.world.selected)

    # -- after each action

    def follow(self, drawn_over=False):
        self.logic.follow()
        self.world.agree_on_coincidences(self.logic.propagation.done_count, drawn_over)

    def check(self, action):
        found = self.segmentation.GetSegmentation().GetSegmentIDs()
        assert set(found) == set(self.ids.values()), action
        for name, segment_id in self.ids.items():
            mask = part_of_segment(self.segmentation, segment_id, self.volume)
            assert np.array_equal(mask, self.world.masks[name]), f"{action}: '{name}' is not what was expected"
        assert not self.worker.busy, action
        if self.rng.random() < 0.3:
            return  # nobody looks at the history after each action: several undone at once must be found too
        self.follow()
        record = self.world.record
        history = [{edit.index for edit in done.slices} for done in self.logic.history]
        assert history == [one.slices for one in record.applied], action
        assert {kept.index for kept in self.logic.kept} == set(record.kept), action
        assert {edit.index for edit in self.logic.redrawn()} == self.world.redrawn, action
        there = {live.selection.segment_id for live in self.logic.sessions if live.selection.is_there()}
        assert there == {self.ids[name] for name in self.world.live}, f"{action}: not all sessions go on"
        assert len(self.logic.session.done) == len(record.applied), f"{action}: the engine is out of step"


ACTIONS = {
    Walk.edit: 40,
    Walk.propagate: 22,
    Walk.preview_and_discard: 4,
    Walk.confirm: 6,
    Walk.take_confirmation_back: 3,
    Walk.cancel: 6,
    Walk.draw_while_it_runs: 3,
    Walk.undo_in_editor: 12,
    Walk.redo_in_editor: 8,
    Walk.undo_is_refused_by_the_logic: 2,
    Walk.switch_segment: 8,
    Walk.switch_and_start_anew: 1.5,
    Walk.change_masks: 6,
    Walk.delete_other_segment: 1,
    Walk.delete_node: 0.7,
    Walk.close_scene: 0.5,
    Walk.start_again: 2,
    Walk.close: 2,
    Walk.save_and_load_scene: 2,
}


@pytest.mark.quick(count=35)
@pytest.mark.parametrize(("seed", "count"), [(0, 35), (0, 1000), (1, 1000)])
def test_random_actions_leave_every_segment_as_the_model_in_numpy_says(make_case, tiny_bundle, seed, count, tmp_path):
    walk = Walk(make_case, tiny_bundle, seed, tmp_path)
    actions, weights = list(ACTIONS), np.array(list(ACTIONS.values()), float)

    for number in range(count):
        action = walk.rng.choice(actions, p=weights / weights.sum())
        action(walk)
        walk.counts[action] += 1
        walk.check(f"action {number}, {action.__name__}")

    assert count < 1000 or min(walk.counts.values()) > 0, "an action was never done"
    assert walk.counts[Walk.propagate] > count / 10
    assert count < 1000 or walk.gone_on > 10, "a lesion was hardly ever gone back to"
    assert walk.coincidences + walk.world.coincidences < 20, "undone by voxels far more often than strokes happen to"
    walk.logic.close()
    walk.worker.close()
