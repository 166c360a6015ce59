"""1,000 random actions over the MRML logic, compared after each one with a model in numpy that knows no MRML."""

import copy
from dataclasses import dataclass, field

import numpy as np
import pytest
import slicer

from bundles import write_bundle
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.effect_writer import EffectWriter
from context_propagation.mrml.labelmap_images import image_from_mask
from context_propagation.mrml.scenes import new_scene
from context_propagation.mrml.segmentation_files import load_segmentation
from context_propagation.mrml.segments import part_of_segment
from context_propagation.mrml.world_matrices import node_to_world, volume_ijk_to_world
from nnunet_folders import write_nnunet_folder

SHAPE = (12, 12, 12)
MAX_UNDO_STATES = 5  # the Segment Editor's
EDITOR, NODE = slicer.vtkMRMLSegmentEditorNode, slicer.vtkMRMLSegmentationNode
LOGIC = slicer.vtkSlicerSegmentEditorLogic
ADD, REMOVE = LOGIC.ModificationModeAdd, LOGIC.ModificationModeRemove


class SegmentEditor:
    """The Segment Editor as far as MRML: what an effect calls, and what its user does."""

    def __init__(self, scene, segmentation, volume):
        self.node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.node.SetAndObserveSegmentationNode(segmentation)
        self.node.SetAndObserveSourceVolumeNode(volume)
        self.logic = LOGIC()
        self.logic.SetMRMLScene(scene)
        self.logic.SetSegmentEditorNode(self.node)

    def parameterSetNode(self):  # noqa: N802
        return self.node

    def saveStateForUndo(self):  # noqa: N802
        self.logic.SaveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, extent, bypass_masking):  # noqa: N802
        segmentation, segment_id = self.node.GetSegmentationNode(), self.node.GetSelectedSegmentID()
        self.logic.ModifySegmentByLabelmap(segmentation, segment_id, labelmap, mode, extent, True, bypass_masking)

    def erase_or_paint(self, labelmap, mode):
        """A stroke. Slicer leaves a labelmap's time as it was where it erased, and Undo then goes two steps back."""
        self.saveStateForUndo()
        self.modifySelectedSegmentByLabelmap(labelmap, mode, list(labelmap.GetExtent()), False)
        segmentation = self.node.GetSegmentationNode().GetSegmentation()
        for layer in range(segmentation.GetNumberOfLayers()):
            segmentation.GetLayerDataObject(layer).Modified()


@dataclass
class State:
    """What an Undo returns to."""

    masks: dict
    kind: str


@dataclass
class World:
    """What should be: segments by name, masks of the editor, its history, and what was propagated."""

    masks: dict
    selected: str = "GTV"
    overwrite: bool = False
    inside: str = ""
    undo: list = field(default_factory=list)
    redo: list = field(default_factory=list)
    applied: list = field(default_factory=list)  # (drawn slices, masks drawn, after) of each propagation in the segment
    unapplied: list = field(default_factory=list)

    def save(self, kind):
        self.undo = [*self.undo, State(copy.deepcopy(self.masks), kind)][-MAX_UNDO_STATES:]
        self.redo.clear()

    def editable(self, mask):
        return mask & self.masks[self.inside] if self.inside else mask

    def write(self, add, remove):
        """Voxels go to the selected segment where masks allow; others lose them where overwriting is on."""
        remove, add = self.editable(remove), self.editable(add)
        self.masks[self.selected] = (self.masks[self.selected] & ~remove) | add
        for name, mask in self.masks.items():
            if self.overwrite and name != self.selected:
                self.masks[name] = mask & ~add

    def follow(self):
        """A propagation counts as undone where every voxel that it wrote is back, and as redone the same way."""
        mask = self.masks[self.selected]
        while self.applied and _equal_where(mask, self.applied[-1][1], self.applied[-1][1] ^ self.applied[-1][2]):
            self.unapplied.append(self.applied.pop())
        while self.unapplied and _equal_where(
            mask, self.unapplied[-1][2], self.unapplied[-1][1] ^ self.unapplied[-1][2]
        ):
            self.applied.append(self.unapplied.pop())

    def forget_propagations(self):
        self.applied.clear()
        self.unapplied.clear()

    def forget_history(self):
        self.undo.clear()
        self.redo.clear()


def _equal_where(mask, values, where):
    return bool(where.any()) and np.array_equal(mask[where], values[where])


class Walk:
    """Does each action to both: the scene through the logic, and the world in numpy."""

    def __init__(self, make_case, bundle, seed, folder):
        self.rng = np.random.default_rng(seed)
        self.make_case, self.bundle, self.folder = make_case, bundle, folder
        self.logic = None
        self.counts = dict.fromkeys(ACTIONS, 0)
        self.begin()

    # -- scenes

    def begin(self):
        """A new scene with three segments."""
        self.case = self.make_case(shape=SHAPE)
        grid = np.indices(SHAPE)
        ball = sum((g - 6) ** 2 for g in grid) <= 12
        wide, beside = sum((g - 6) ** 2 for g in grid) <= 30, np.roll(ball, 4, axis=2)
        self.ids = {name: self.case.add(mask, name) for name, mask in (("GTV", ball), ("ring", wide), ("cord", beside))}
        self.world = World({"GTV": ball.copy(), "ring": wide.copy(), "cord": beside.copy()})
        self.enter(self.case.scene, self.case.volume, self.case.segmentation)

    def enter(self, scene, volume, segmentation, restore=False):
        """An editor and a logic on a scene."""
        self.scene, self.volume, self.segmentation = scene, volume, segmentation
        self.editor = SegmentEditor(scene, segmentation, volume)
        model = self.logic.loaded if self.logic else None
        if self.logic:
            self.logic.close()
        self.logic = ContextPropagationLogic(scene)
        self.logic.loaded = model
        if model is None:
            self.logic.load_model(self.bundle, device="cpu")
        self.world.overwrite, self.world.inside = False, ""
        self.apply_editor_settings()
        self.start(restore)

    def writer(self):
        return EffectWriter(self.editor, self.segmentation, ADD, REMOVE)

    def start(self, restore=False):
        self.logic.select([self.volume], self.segmentation, self.ids[self.world.selected])
        self.apply_editor_settings()
        if restore:
            self.logic.restore(self.writer())
        else:
            self.logic.predict(self.writer())

    def apply_editor_settings(self):
        node, world = self.editor.node, self.world
        node.SetSelectedSegmentID(self.ids[world.selected])
        node.SetOverwriteMode(EDITOR.OverwriteAllSegments if world.overwrite else EDITOR.OverwriteNone)
        node.SetMaskMode(NODE.EditAllowedInsideSingleSegment if world.inside else NODE.EditAllowedEverywhere)
        node.SetMaskSegmentID(self.ids[world.inside] if world.inside else "")

    # -- actions

    def edit(self):
        """Paint or erase a rectangle on an axial slice."""
        stroke, index = np.zeros(SHAPE, bool), int(self.rng.integers(2, 10))
        (j, i), (h, w) = self.rng.integers(2, 8, 2), self.rng.integers(1, 4, 2)
        stroke[index, j : j + h, i : i + w] = True
        adds = bool(self.rng.random() < 0.6)
        nothing = np.zeros(SHAPE, bool)
        if not adds and self.world.inside:
            return  # Slicer's own erase inside one segment gives the voxels to that segment: not ours to model
        self.world.save("edit")
        self.world.write(stroke if adds else nothing, nothing if adds else stroke)
        box = ((0, SHAPE[0]), (0, SHAPE[1]), (0, SHAPE[2]))
        own_ras = np.linalg.inv(node_to_world(self.segmentation)) @ volume_ijk_to_world(self.volume)
        image = image_from_mask(stroke, box, own_ras)
        self.editor.erase_or_paint(image, ADD if adds else REMOVE)

    def propagate(self):
        pending = self.pending()
        if pending is None:
            return
        drawn = self.world.masks[self.world.selected].copy()
        slices = {edit.index for edit in pending.edits}
        for edit in pending.edits:
            assert np.array_equal(edit.mask, drawn[edit.index])
        changed, wanted = pending.result.changed, pending.result.segmentation
        kept = slices.union(*(earlier for earlier, _, _ in self.world.applied))
        assert not changed[sorted(kept)].any(), "a drawn slice would be changed"
        add, remove = changed & wanted & ~drawn, changed & ~wanted & drawn
        if (add | remove).any():
            self.world.save("propagate")
        self.world.write(add, remove)
        self.logic.apply(pending)
        self.world.applied.append((slices, drawn, self.world.masks[self.world.selected].copy()))
        self.world.unapplied.clear()

    def preview_and_discard(self):
        pending = self.pending()
        if pending is not None:
            self.logic.discard(pending)
            self.world.unapplied.clear()

    def cancel(self):
        asked = iter(range(1000))
        stop = int(self.rng.integers(0, 4))
        try:
            operation = self.logic.propagate_operation("axial" if self.axial else None)
        except UserInputError as error:
            assert "equals the initial" in str(error)  # noqa: PT017
            return
        self.world.follow()
        try:
            pending = operation.run(cancelled=lambda: next(asked) >= stop)
        except Cancelled:
            return
        self.logic.discard(pending)
        self.world.unapplied.clear()

    def undo_in_editor(self):
        self.editor.logic.Undo()
        if not self.world.redo:  # the editor now keeps the present state too, and forgets the oldest for it
            self.world.undo = self.world.undo[-(MAX_UNDO_STATES - 1) :]
        if self.world.undo:
            state = self.world.undo.pop()
            self.world.redo.append(State(copy.deepcopy(self.world.masks), state.kind))
            self.world.masks = state.masks
        self.follow()

    def redo_in_editor(self):
        self.editor.logic.Redo()
        if self.world.redo:
            state = self.world.redo.pop()
            self.world.undo.append(State(copy.deepcopy(self.world.masks), state.kind))
            self.world.masks = state.masks
        self.follow()

    def undo_is_refused_by_the_logic(self):
        """The editor's history is not Python's to call."""
        with pytest.raises(UserInputError, match="Nothing to undo|Segment Editor"):
            self.logic.undo()

    def switch_segment(self):
        self.world.selected = str(self.rng.choice(sorted(set(self.ids) - {self.world.inside})))
        self.world.forget_propagations()
        self.logic.close_session()
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
        name = others[0]
        self.segmentation.GetSegmentation().RemoveSegment(self.ids.pop(name))
        del self.world.masks[name]
        if self.world.inside == name:
            self.world.inside = ""
        self.apply_editor_settings()
        self.editor.logic.ClearUndoState()  # as the editor widget does where segments are removed
        self.world.forget_history()

    def delete_node(self):
        node = self.segmentation if self.rng.random() < 0.5 else self.volume
        self.scene.RemoveNode(node)
        with pytest.raises(UserInputError, match=f"'{node.GetName()}' was deleted"):
            self.logic.propagate()
        self.begin()

    def close(self):
        self.logic.close_session()
        self.world.forget_propagations()
        self.start()

    def save_and_load_scene(self):
        self.logic.follow()
        self.world.follow()
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
        self.world.forget_history()
        applied = list(self.world.applied)
        self.enter(other, volume, segmentation, restore=True)
        assert [sorted({e.index for e in done.edits}) for done in self.logic.history] == [
            sorted(slices) for slices, _, _ in applied
        ]
        nothing = np.zeros(SHAPE, bool)  # they stay drawn, and can no longer be undone
        self.world.applied = [(slices, nothing, nothing) for slices, _, _ in applied]
        self.world.unapplied.clear()

    # -- after each action

    def pending(self):
        """A propagation of what was drawn; None where nothing was."""
        try:
            operation = self.logic.propagate_operation("axial" if self.axial else None)
        except UserInputError as error:
            assert "equals the initial" in str(error)  # noqa: PT017
            return None
        self.world.follow()
        return operation.run()

    @property
    def axial(self):
        return self.case.source.plane_of_axis[0] == "axial"

    def follow(self):
        self.logic.follow()
        self.world.follow()

    def check(self, action):
        found = self.segmentation.GetSegmentation().GetSegmentIDs()
        assert set(found) == set(self.ids.values()), action
        for name, segment_id in self.ids.items():
            mask = part_of_segment(self.segmentation, segment_id, self.volume)
            assert np.array_equal(mask, self.world.masks[name]), f"{action}: '{name}' is not what was expected"


ACTIONS = {
    Walk.edit: 40,
    Walk.propagate: 22,
    Walk.preview_and_discard: 4,
    Walk.cancel: 6,
    Walk.undo_in_editor: 12,
    Walk.redo_in_editor: 8,
    Walk.undo_is_refused_by_the_logic: 2,
    Walk.switch_segment: 3,
    Walk.change_masks: 6,
    Walk.delete_other_segment: 1,
    Walk.delete_node: 1,
    Walk.close: 2,
    Walk.save_and_load_scene: 2,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    folder = tmp_path_factory.mktemp("walk")
    base = write_nnunet_folder(folder / "base", seed=1, spacing=(2.5, 1.1, 0.8), features=(2, 4, 4))
    return write_bundle(folder / "bundle", base, channels=4, width=0.5, neighbours=1)


@pytest.mark.parametrize("seed", range(4))
def test_250_random_actions_leave_every_segment_as_the_model_in_numpy_says(make_case, bundle, seed, tmp_path):
    walk = Walk(make_case, bundle, seed, tmp_path)
    actions, weights = list(ACTIONS), np.array(list(ACTIONS.values()), float)

    for number in range(250):
        action = walk.rng.choice(actions, p=weights / weights.sum())
        action(walk)
        walk.counts[action] += 1
        walk.check(f"action {number}, {action.__name__}")

    assert walk.counts[Walk.propagate] > 20
    walk.logic.close()
