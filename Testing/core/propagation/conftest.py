"""Small real nnU-Nets with seeded random weights, of one fold and of two."""

import pytest

from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import write_nnunet_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture(scope="session")
def model(folder):
    return NnunetModel.load(folder, device="cpu")


@pytest.fixture(scope="session")
def folds(tmp_path_factory):
    """A model of two folds."""
    folder = write_nnunet_folder(tmp_path_factory.mktemp("folds"), folds=(0, 1), features=(4, 8, 8))
    return NnunetModel.load(folder, device="cpu")
