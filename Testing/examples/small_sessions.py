"""Sessions on a small image of noise, and drawings that say something new."""

import numpy as np

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings

SHAPE = (24, 22, 20)
QUICK = UpdateSettings(iterations=2)


def smooth_noise(shape):
    """Low-frequency noise, so that a network's answer varies over the image."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfftn(rng.normal(size=shape))
    spectrum[4:-3] = 0
    return np.fft.irfftn(spectrum, s=shape, axes=(0, 1, 2)).astype(np.float32)


def volume(shape=SHAPE, ijk_to_lps=None):
    return SourceVolume(smooth_noise(shape)[None], np.eye(4) if ijk_to_lps is None else ijk_to_lps)


def ball(shape=SHAPE, centre=None, radius=6):
    centre = centre or tuple(n // 2 for n in shape)
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def started(model, initial=None, **settings):
    session = Session(model, SessionSettings(update=QUICK, **settings))
    session.set_image(volume(), ball() if initial is None else initial)
    return session


def redrawn(session, axis=0, index=12):
    """The current slice moved by two voxels and grown by a corner: an edit that says something new."""
    mask = np.roll(session.window_prediction.take(index, axis), 2, axis=0)
    mask[2:6, 2:6] = ~mask[2:6, 2:6]
    return SliceEdit(axis, index, mask)


def an_edit(index, shape=(24, 24)):
    drawn = np.zeros(shape, bool)
    drawn[6:18, 6:18] = True
    return SliceEdit(0, index, drawn)
