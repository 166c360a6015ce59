"""A small real U-Net and examples of its own."""

import pytest

from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import write_nnunet_folder
from small_training import NEAR, example, readers


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("model"), convolutions=2), device="cpu")


@pytest.fixture(scope="session")
def training(model):
    return readers(*(example(model, seed, (NEAR, slice(3, 8))) for seed in range(3)))


@pytest.fixture(scope="session")
def validation(model):
    return readers(example(model, 7))
