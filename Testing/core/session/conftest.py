"""A small real nnU-Net with seeded random weights."""

import pytest

from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import write_nnunet_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture(scope="session")
def model(folder):
    return NnunetModel.load(folder, device="cpu")
