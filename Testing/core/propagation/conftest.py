"""A small real nnU-Net of two folds, with seeded random weights."""

import pytest

from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import write_nnunet_folder


@pytest.fixture(scope="session")
def folds(tmp_path_factory):
    folder = write_nnunet_folder(tmp_path_factory.mktemp("folds"), folds=(0, 1), features=(4, 8, 8))
    return NnunetModel.load(folder, device="cpu")
