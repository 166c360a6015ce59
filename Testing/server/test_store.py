"""A place that somebody left is free for the next one, also before a page sends its files."""

import numpy as np
import pytest

pytest.importorskip("fastapi")

from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.server.held_session import Announced
from context_propagation.server.limits import Limits
from context_propagation.server.model_folder import ModelChoice
from context_propagation.server.refusals import Refusal
from context_propagation.server.store import Store
from context_propagation.server.worker import Worker


def test_the_place_of_a_session_that_nobody_was_heard_of_is_free_again():
    now = [0.0]
    store = Store(Worker(), Limits(sessions=1, lease_s=600.0), lambda: now[0])
    store.begin("ann", ModelChoice("model"), SessionSettings(), Announced((1, 1, 1), ("float32",), np.eye(4)))

    with pytest.raises(Refusal, match="1 session of 1 are open"):
        store.check_place()
    now[0] = 601.0
    store.check_place()
    assert len(store) == 0
