"""Sessions with fusion networks, and the margins that they decide far slices by."""

import numpy as np

import small_sessions
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.propagation.far_slices import decode_fused
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from small_sessions import QUICK, ball, volume

IDENTITY = 0.0


def started(model, fusion, image=None, **settings):
    session = Session(model, SessionSettings(update=QUICK, **settings), fusion)
    image = image or volume()
    session.set_image(image, ball(image.shape_kji))
    return session


def redrawn(session, axis=0, index=10):
    """Farther from the middle than in `small_sessions`, so that more slices on one side are far."""
    return small_sessions.redrawn(session, axis, index)


def network_edit(session, edits):
    return session.propagation.network_edit(edits)


def whole_margins(session, record):
    margins = np.full(session.volume.shape_kji, np.nan, np.float32)
    margins[slices_of(record.far.box)] = record.far.values
    return margins


def owned(session):
    return session.cache.prepared.axes.undo(session.cache.owner) != -1


def decoded(cache, number, fold, network, inputs):
    """The logits of the fused map on all image voxels of a window."""
    box = cache.windows[number].image_box
    return cache.prepared.grid.to_image(*decode_fused(cache, number, fold, network, inputs, box), box)
