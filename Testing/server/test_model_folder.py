"""The models of a server are loaded once for all who use them, and make room when nobody does."""

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.server.model_folder import ModelChoice, ModelFolder
from nnunet_folders import write_nnunet_folder


@pytest.fixture
def models(tmp_path):
    write_nnunet_folder(tmp_path / "labels", labels={"background": 0, "GTVp": 1, "GTVn": 2})
    write_nnunet_folder(tmp_path / "other", seed=1)
    return ModelFolder(tmp_path, "cpu")


def test_two_labels_of_a_model_share_its_networks(models):
    first, second = ModelChoice("labels", "GTVp"), ModelChoice("labels", "GTVn")
    one = models.loaded(first, {first, second})
    other = models.loaded(second, {first, second})

    assert (one.model.target_name, other.model.target_name) == ("GTVp", "GTVn")
    assert other.model.splits is one.model.splits
    assert models.loaded(first, {first, second}) is one


def test_a_model_that_nobody_uses_makes_room_for_another(models):
    first, other = ModelChoice("labels", "GTVp"), ModelChoice("other")
    one = models.loaded(first, {first})
    assert models.loaded(first, set()) is one  # it is there
    models.loaded(other, {other})
    assert models.loaded(first, {first, other}) is not one


def test_a_label_that_would_be_chosen_anyhow_loads_no_second_model(tmp_path):
    write_nnunet_folder(tmp_path / "one", labels={"background": 0, "GTVp": 1})
    write_nnunet_folder(tmp_path / "labels", labels={"background": 0, "GTVp": 1, "GTVn": 2})
    models = ModelFolder(tmp_path, "cpu")
    choices = {models.checked(ModelChoice("one", label)) for label in (None, "GTVp")}

    assert choices == {ModelChoice("one")}
    assert models.checked(ModelChoice("labels", "GTVn")) == ModelChoice("labels", "GTVn")
    with pytest.raises(UserInputError, match="several labels: GTVp, GTVn; name the one"):
        models.checked(ModelChoice("labels"))
    with pytest.raises(UserInputError, match="The server has no model 'other'; choose one of 'labels', 'one'"):
        models.checked(ModelChoice("other"))
