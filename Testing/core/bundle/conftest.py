"""A small trained model, and bundles that are made of it."""

import shutil
from pathlib import Path

import pytest

from bundle_checks import THREE
from bundles import write_bundle
from nnunet_folders import write_nnunet_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_nnunet_folder(tmp_path_factory.mktemp("base") / "model", folds=(0, 1), labels=THREE)


@pytest.fixture(scope="module")
def made(base, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", base, folds=[1, 0])


@pytest.fixture(scope="module")
def made_of_one_fold(base, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", base, folds=[0])


@pytest.fixture
def bundle(made_of_one_fold, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made_of_one_fold, tmp_path / "bundle")


@pytest.fixture
def bundle_of_two_folds(made, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "bundle")
