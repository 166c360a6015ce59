"""Slicers that keep what is drawn in one folder, with a small model, and one of them at work."""

import pytest

from several_slicers import SHAPE, Slicers, plane


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    from nnunet_folders import write_nnunet_folder

    return write_nnunet_folder(tmp_path_factory.mktemp("base"), seed=1, spacing=(2.5, 1.1, 0.8), features=(2, 4, 4))


@pytest.fixture(scope="session")
def bundle(base, tmp_path_factory):
    from bundles import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle", base, channels=4, width=0.5, neighbours=1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def draw(draw_ellipsoid):
    return lambda index: draw_ellipsoid(SHAPE, (index, 9, 6), (1, 4, 3))[index]


@pytest.fixture
def slicers(make_case, bundle, folder):
    slicers = Slicers(make_case, bundle, folder)
    yield slicers
    for logic in slicers.running:
        logic.close()


@pytest.fixture
def edited(slicers, draw):
    """Two slices were propagated, a third one was only drawn."""
    logic = slicers.start()
    logic.predict()
    for index in (5, 9):
        logic.edit_slice(index, draw(index), plane(logic))
        logic.propagate()
    logic.edit_slice(12, draw(12), plane(logic))
    logic.keep_drawn()
    return logic
