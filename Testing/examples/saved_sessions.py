"""Sessions with something worth saving, and all that is compared of them."""

import copy

import numpy as np
from scipy.ndimage import gaussian_filter

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings

SHAPE = (20, 24, 40)
SETTINGS = SessionSettings(
    level=1, neighbours=1, update=UpdateSettings(iterations=2, proximal_weight=0.5), window_border=2
)


def an_image(seed=0) -> SourceVolume:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return SourceVolume((100 * noise / noise.std()).astype(np.float32)[None], np.diag([1.0, 1.0, 2.0, 1.0]))


def a_box(k, j, i) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


def square_drawn(index, j, i) -> SliceEdit:
    return SliceEdit(0, index, a_box((index, index + 1), j, i)[index])


HAND = (12, slice(3, 14), slice(3, 12))  # beside the slice of FURTHER, and no earlier edit is near to it
FURTHER = square_drawn(11, (3, 13), (4, 12))


def worked_session(model) -> Session:
    """Three propagations, the second outside the first window and of another axis, one undone; a change by hand."""
    session = Session(model, SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    session.propagate([square_drawn(8, (4, 13), (3, 12)), square_drawn(9, (4, 12), (3, 12))])
    by_hand = session.segmentation.copy()
    by_hand[HAND] ^= True
    session.accept_manual_changes(by_hand)
    session.propagate([SliceEdit(2, 32, a_box((4, 12), (6, 16), (32, 33))[:, :, 32])])
    session.propagate([square_drawn(6, (5, 11), (4, 11))])
    session.undo()
    return session


def copied(session, *shared):
    """A session to work on, so that the one it is copied from can be copied again; networks are shared."""
    return copy.deepcopy(session, {id(one): one for one in shared})


def records_as_lists(records):
    return [
        (
            [(edit.axis, edit.index, edit.mask.tolist()) for edit in record.edits],
            record.neighbours,
            [(near.index, near.box, near.labels.tolist(), near.changed.tolist()) for near in record.near],
            record.updates,
            record.drawn_at,
            [(piece.window, piece.fold, piece.box, piece.values.tolist()) for piece in record.features],
            None if record.far is None else (record.far.box, record.far.values.tobytes()),
        )
        for record in records
    ]
