"""The module in the stand-in application, a small model, and a CT."""

import sys
from pathlib import Path

import numpy as np
import pytest

from panel_user import PanelUser

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHAPE = (16, 16, 16)


@pytest.fixture
def bundle(effect_bundle):
    return effect_bundle


@pytest.fixture
def base(effect_bundle):
    return effect_bundle.parent / "base"


@pytest.fixture
def module(application, models_loaded_once):
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield application
    from context_propagation.gui.work.shared import release

    opened = sys.modules["slicer"].modules.contextpropagation.widgetRepresentation()
    if opened is not None:
        opened.self().cleanup()  # as Slicer does at its end
    release()


@pytest.fixture
def add_ct(module):
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    def add(name="CT", shape=SHAPE, spacing=(0.8, 1.1, 2.5)):
        voxels = np.random.default_rng(3).normal(size=(1, *shape)).astype(np.float32)
        return add_volume(module.scene, SourceVolume(voxels, np.diag([*spacing, 1.0])), name)

    return add


@pytest.fixture
def ct(add_ct):
    return add_ct()


@pytest.fixture(scope="session")
def pet_model(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    from nnunet_folders import write_nnunet_folder

    folder = tmp_path_factory.mktemp("pet") / "ct_pet"
    return write_nnunet_folder(folder, channels=2, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8))


@pytest.fixture
def user(module, bundle, base):
    user = PanelUser(module, [bundle, base])
    user.choose_model(bundle)
    return user


@pytest.fixture
def ready(user, ct):
    user.predict(ct)
    return user
