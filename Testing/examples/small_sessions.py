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


def stored_with_other_axes(order, flips, shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0)):
    """The same patient: new axis n runs along old axis order[n], backwards where flipped.

    Returns:
        ijk to LPS of the stored image, float `[4, 4]`, and what stores an array `[K, J, I]` so.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[2 - old, 2 - new] = -spacing_mm[old] if flip else spacing_mm[old]
        if flip:
            matrix[2 - old, 3] = spacing_mm[old] * (shape[old] - 1)
    turn = tuple(slice(None, None, -1 if flip else None) for flip in flips)
    return matrix, lambda array: np.ascontiguousarray(array.transpose(order)[turn])


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
