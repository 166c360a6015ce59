"""The effect "Propagate Edit", started on a segment, and with a preview open."""

import pytest

from effect_bench import DRAWN, ball


@pytest.fixture
def started(bench):
    """With a segment that was started on."""
    bench.open_segment(ball())
    bench.start()
    return bench


@pytest.fixture
def previewed(started):
    """With one slice redrawn and propagated."""
    started.paint(DRAWN)
    started.propagate()
    return started
