"""A small real nnU-Net with seeded random weights; torch on one thread, for what is compared bit for bit."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    from nnunet_folders import write_nnunet_folder

    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture(scope="session")
def model(folder):
    from context_propagation.core.model.nnunet_model import NnunetModel

    return NnunetModel.load(folder, device="cpu")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
