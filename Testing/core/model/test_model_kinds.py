"""Which kind of model a folder holds, and that each kind is loaded and copied as itself."""

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.model_kinds import copy_base_model, kind_of, load_base_model
from context_propagation.core.model.nnunet_model import NnunetModel
from monai_bundles import write_monai_bundle
from nnunet_folders import write_nnunet_folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("psnn.json", "psnn"),
        ("configs/metadata.json", "monai"),
        ("configs/inference.json", "monai"),
        ("plans.json", "nnunet"),
        ("readme.txt", "nnunet"),
    ],
)
def test_a_kind_is_told_by_its_file(tmp_path, name, kind):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")

    assert kind_of(tmp_path) == kind


def test_an_nnunet_folder_is_loaded_with_its_folds_and_orientation(tmp_path):
    folder = write_nnunet_folder(tmp_path, folds=(0, 1))

    model = load_base_model(folder, "GTV", "cpu", ["1"], "LPS")

    assert isinstance(model, NnunetModel)
    assert (model.folds, model.orientation, model.loss) == (("1",), "LPS", "dice and cross-entropy")
    assert model.content_hash == NnunetModel.load(folder, device="cpu", folds=["1"]).content_hash


def test_a_folder_of_no_kind_is_refused_by_what_it_lacks(tmp_path):
    with pytest.raises(UserInputError, match=r"plans.json' is missing"):
        load_base_model(tmp_path, device="cpu")


@pytest.mark.parametrize("write", [write_nnunet_folder, write_monai_bundle])
def test_a_copy_holds_the_same_model(tmp_path, write):
    original = write(tmp_path / "original")

    copy_base_model(original, tmp_path / "copy", ["0"])

    hashes = [load_base_model(tmp_path / name, device="cpu").content_hash for name in ("original", "copy")]
    assert hashes[0] == hashes[1]
