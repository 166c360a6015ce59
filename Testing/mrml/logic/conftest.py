"""The logic on a real scene, with a real nnU-Net folder in a bundle."""

import pytest

from bundles import write_bundle
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from loaded_models import quick_model
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 16, 16)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    return write_nnunet_folder(tmp_path_factory.mktemp("base"), seed=1, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8))


@pytest.fixture(scope="session")
def bundle(base, tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle", base, channels=8, neighbours=2)


@pytest.fixture
def case(make_case):
    return make_case(shape=SHAPE)


@pytest.fixture
def target(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (8, 8, 8), (4, 5, 5))


@pytest.fixture
def redrawn(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (7, 9, 6), (1, 4, 3))[7]


@pytest.fixture
def logic(case):
    logic = ContextPropagationLogic(case.scene)
    yield logic
    logic.close()


@pytest.fixture
def ready(logic, case, bundle, target):
    """The image is cached, around a segment that was there before."""
    logic.loaded = quick_model(bundle)
    logic.select([case.volume], case.segmentation, case.add(target))
    logic.predict()
    return logic
