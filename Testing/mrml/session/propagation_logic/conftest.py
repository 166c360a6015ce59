"""A segment on a real scene, a drawing on one of its slices, and the logic with its image set."""

import pytest

from context_propagation.mrml.session.propagation_logic import PropagationLogic
from propagation_steps import SHAPE, set_image


@pytest.fixture
def case(make_case):
    return make_case(shape=SHAPE)


@pytest.fixture
def target(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (8, 8, 8), (4, 5, 5))


@pytest.fixture
def drawn(target, draw_ellipsoid):
    """The target with slice k = 7 redrawn."""
    result = target.copy()
    result[7] = draw_ellipsoid(SHAPE, (7, 9, 6), (1, 4, 3))[7]
    return result


@pytest.fixture
def segment_id(case, target):
    return case.add(target)


@pytest.fixture
def session(make_session):
    return make_session()


@pytest.fixture
def logic(case, session, segment_id):
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    set_image(logic)
    return logic
