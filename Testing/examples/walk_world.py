"""What should be in a scene while someone works in it, in numpy: knows no MRML, no engine, and no rule of the logic.

Undo goes by the editor's stack of states, each of which says what was done after it was saved.
"""

import copy
from dataclasses import dataclass, field

import numpy as np

MAX_UNDO_STATES = 5  # the Segment Editor's


@dataclass(eq=False)
class Propagated:
    """One propagation: its slices, and the segment before it was redrawn, as redrawn, and after it.

    A confirmation is one that changes nothing. `slices` are those drawn and confirmed, `rejected` the voxels not taken.
    """

    slices: set
    known: np.ndarray
    drawn: np.ndarray
    after: np.ndarray
    rejected: np.ndarray
    replayed: bool = False
    went_with: bool = False  # taken back with the one before it, not by itself

    @property
    def flipped(self):
        return self.drawn ^ self.after


@dataclass
class Record:
    """What is remembered of a segment since it was last started on."""

    known: np.ndarray
    kept: dict  # what was drawn on a slice before
    applied: list = field(default_factory=list)
    unapplied: list = field(default_factory=list)

    @property
    def drawn(self):
        """Slices that propagation must leave alone."""
        return set(self.kept).union(*(one.slices for one in self.applied))

    @property
    def untouchable(self):
        """Voxels that propagation must leave alone."""
        voxels = np.zeros(self.known.shape, bool)
        voxels[sorted(self.drawn)] = True
        return np.any([voxels, *(one.rejected for one in self.applied)], axis=0)

    def still_drawn(self, mask, redrawn):
        """What slices of a mask show that still are as they were drawn last."""
        drawings = dict(self.kept)
        for one in self.applied:
            drawings |= {index: one.drawn[index] for index in one.slices}
        drawings |= {index: mask[index] for index in redrawn}
        return {index: drawn for index, drawn in drawings.items() if np.array_equal(mask[index], drawn)}


@dataclass
class World:
    """Segments by name, masks of the editor, its history, and what was propagated in each segment."""

    masks: dict
    selected: str = "GTV"
    overwrite: bool = False
    inside: str = ""
    undo_states: list = field(default_factory=list)  # (masks, what was done then)
    redo_states: list = field(default_factory=list)
    records: dict = field(default_factory=dict)
    live: set = field(default_factory=set)  # segments whose sessions go on when another one is selected
    coincidences: int = 0

    @property
    def mask(self):
        return self.masks[self.selected]

    @property
    def record(self):
        return self.records[self.selected]

    @property
    def redrawn(self):
        return _slices(self.record.known ^ self.mask)

    # -- what is written

    def save(self, what):
        """The editor saves its state before something is done."""
        self.undo_states = [*self.undo_states, (copy.deepcopy(self.masks), what)][-MAX_UNDO_STATES:]
        self.redo_states.clear()

    def write(self, add, remove):
        """Voxels go to the selected segment where masks allow; others lose them where overwriting is on."""
        editable = self.masks[self.inside] if self.inside else np.ones_like(add)
        add, remove = add & editable, remove & editable
        self.masks[self.selected] = (self.mask & ~remove) | add
        for name, mask in self.masks.items():
            if self.overwrite and name != self.selected:
                self.masks[name] = mask & ~add

    def stroke(self, add, remove):
        self.save("stroke")
        self.write(add, remove)

    def confirm(self, slices):
        """Slices are right as they are."""
        known = self.record.known
        self.record.applied.append(Propagated(slices, known, known, known, np.zeros(known.shape, bool)))
        self.record.unapplied.clear()

    def propagate(self, slices, add, remove, rejected):
        """A propagation that was computed is applied, but for what was rejected of it."""
        record, drawn = self.record, self.mask.copy()
        done = Propagated(slices, record.known, drawn, drawn, rejected)
        if (add | remove).any():
            self.save(done)
        self.write(add, remove)
        done.after = record.known = self.mask.copy()
        record.applied.append(done)
        record.unapplied.clear()

    # -- undo

    def undo(self):
        if not self.redo_states:  # the editor now keeps the present state too, and forgets the oldest for it
            self.undo_states = self.undo_states[-(MAX_UNDO_STATES - 1) :]
        if not self.undo_states:
            return
        masks, what = self.undo_states.pop()
        self.redo_states.append((copy.deepcopy(self.masks), what))
        self.masks = masks
        for record in self.watched:  # of segments without a session nobody notices what is undone
            _take_back(record, what)

    def redo(self):
        if not self.redo_states:
            return
        masks, what = self.redo_states.pop()
        self.undo_states.append((copy.deepcopy(self.masks), what))
        self.masks = masks
        for record in self.watched:
            if record.unapplied and record.unapplied[-1] is what:
                _make_again(record)

    @property
    def watched(self):
        """What is remembered of segments in whose sessions it is noticed, at the latest on going back to them."""
        return [self.records[name] for name in self.records if name in self.live | {self.selected}]

    def agree_on_coincidences(self, done_count, drawn_over=False):
        """The logic goes by voxels. Where strokes happen to put all voxels of a propagation back, it counts as undone;
        where they happen to draw them, as made again. Where others drew over a segment while it was not selected, what
        was undone before cannot be told by its voxels. That, and nothing else, may be otherwise than the stack says.
        """
        record = self.record
        while (count := sum(not one.replayed for one in record.applied)) != done_count:
            self.coincidences += 1
            if count > done_count:
                wrote = next(one for one in reversed(record.applied) if one.flipped.any())
                assert np.array_equal(self.mask[wrote.flipped], wrote.drawn[wrote.flipped]), "undone without a reason"
                _take_back(record, wrote)
            else:
                again = record.unapplied[-1]
                assert again.flipped.any()
                redone = np.array_equal(self.mask[again.flipped], again.after[again.flipped])
                undone = np.array_equal(self.mask[again.flipped], again.drawn[again.flipped])
                assert redone or (drawn_over and not undone), "redone without a reason"
                _make_again(record)

    # -- sessions

    def start(self, keep_drawn=True, goes_on=False):
        """The segment as it is now is the new start. What was redrawn is known for sure of a session that goes on."""
        kept, record = {}, self.records.get(self.selected)
        if record is not None and keep_drawn and self.mask.any():
            kept = record.still_drawn(self.mask, self.redrawn if goes_on else set())
        self.records[self.selected] = Record(self.mask.copy(), kept)

    def keep_as_well(self, indices):
        """Beside a closed session an Undo of several steps looks as if more had been drawn: that may be kept too."""
        assert set(self.record.kept) <= indices, "a slice that was drawn is not kept"
        self.record.kept = {index: self.mask[index] for index in indices}

    def replay(self):
        """Edits are replayed from the scene: they stay drawn, and cannot be undone."""
        for one in self.record.applied:
            one.replayed = True
        self.record.unapplied.clear()

    def remove_segment(self, name):
        del self.masks[name]
        self.records.pop(name, None)
        self.live.discard(name)
        self.inside = "" if self.inside == name else self.inside
        self.forget_undo()

    def forget_undo(self):
        self.undo_states.clear()
        self.redo_states.clear()


def _take_back(record, what):
    """A propagation, and those after it that are no more without it. One of which masks refused all leaves no trace
    in the segment: nobody can tell that it was undone, and nothing hangs on it.
    """
    undoable = [one for one in record.applied if not one.replayed and one.flipped.any()]
    if any(one is what for one in undoable):
        while record.applied[-1] is not what:
            record.applied[-1].went_with = not record.applied[-1].flipped.any()
            record.unapplied.append(record.applied.pop())
        record.unapplied.append(record.applied.pop())
        record.known = what.known


def _make_again(record):
    record.applied.append(record.unapplied.pop())
    record.known = record.applied[-1].after
    while record.unapplied and record.unapplied[-1].went_with:
        record.applied.append(record.unapplied.pop())
        record.known = record.applied[-1].after


def _slices(difference):
    return set(np.flatnonzero(difference.any(axis=(1, 2))).tolist())
