"""The module's panel, driven as a user does: real Qt, real MRML, a real nnU-Net in a bundle."""

from pathlib import Path

import numpy as np
import pytest

from as_a_user import click, process_events, screenshot

SHIPPED = Path(__file__).parents[2] / "SlicerContextPropagation"
SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    from bundles import write_bundle
    from nnunet_folders import write_nnunet_folder

    folder = tmp_path_factory.mktemp("models")
    base = write_nnunet_folder(folder / "base", seed=1, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8))
    return write_bundle(folder / "bundle", base, channels=8, neighbours=2)


@pytest.fixture
def module(application):
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield application
    from context_propagation.gui.shared import release

    release()


@pytest.fixture
def ct(module):
    from context_propagation.core.source_volume import SourceVolume
    from context_propagation.mrml.volume_nodes import add_volume

    rng = np.random.default_rng(3)
    voxels = rng.normal(size=(1, *SHAPE)).astype(np.float32)
    return add_volume(module.scene, SourceVolume(voxels, np.diag([0.8, 1.1, 2.5, 1.0])), "CT")


@pytest.fixture
def panel(module, ct, bundle, monkeypatch):
    from context_propagation.gui.model_list import ModelList

    ModelList().add(bundle)
    return module.open_module("ContextPropagation").panel


def test_the_panel_opens(module, panel, tmp_path):
    import slicer
    w = slicer.modules.contextpropagation.widgetRepresentation()
    process_events(0.1)
    screenshot(w, "/tmp/panel.png")
