"""A trained-model folder loads as data; whatever could run code, or is not what it says, is refused by name."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import pickle
import pkgutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.nnunet_allow_lists import TRAINERS
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from nnunet_folders import edit_checkpoint, edit_json, write_nnunet_folder

FULL = ("configurations", "3d_fullres")
ARGUMENTS = (*FULL, "architecture", "arch_kwargs")


class WritesMarker:
    """Pickles to a call that writes a file: a stand-in for a malicious checkpoint."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.marker)!r}, 'w').close()",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_nnunet_folder(tmp_path / "model")


def refusal(folder: Path, **arguments: Any) -> str:
    with pytest.raises(UserInputError) as caught:
        load_nnunet_folder(folder, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def checkpoint_of(folder: Path, fold: int | str = 0) -> Path:
    return folder / f"fold_{fold}" / "checkpoint_final.pth"


# ---- what loads


@pytest.mark.parametrize("architecture", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("folds", [(0,), (0, 1)])
def test_networks_compute_what_nnunets_own_predictor_computes(
    tmp_path: Path, architecture: str, folds: tuple[int, ...]
) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder = write_nnunet_folder(tmp_path, architecture=architecture, channels=2, folds=folds)
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    predictor.network.eval()
    loaded = load_nnunet_folder(folder)
    image = torch.randn(1, 2, 16, 16, 16)
    assert len(loaded.networks) == len(folds)
    for network, parameters in zip(loaded.networks, predictor.list_of_parameters, strict=True):
        predictor.network.load_state_dict(parameters)
        with torch.no_grad():
            assert torch.equal(network(image), predictor.network(image))


def test_loaded_folder_says_what_the_training_wrote(tmp_path: Path) -> None:
    loaded = load_nnunet_folder(write_nnunet_folder(tmp_path, folds=(0, 1), transpose_forward=(2, 0, 1)))
    assert loaded.folds == ("0", "1")
    assert loaded.configuration == "3d_fullres"
    assert loaded.trainer_name == "nnUNetTrainer"
    assert loaded.mirroring_axes == (0, 1, 2)
    assert loaded.plans_manager.transpose_forward == [2, 0, 1]
    assert loaded.configuration_manager.patch_size == [16, 16, 16]
    assert loaded.label_manager.foreground_labels == [1]
    assert loaded.dataset_json["labels"] == {"background": 0, "GTV": 1}


def test_networks_are_frozen(folder: Path) -> None:
    network = load_nnunet_folder(folder).networks[0]
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_region_based_labels_get_one_head_per_region(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    loaded = load_nnunet_folder(write_nnunet_folder(tmp_path, labels=labels, regions_class_order=(1, 2)))
    assert loaded.label_manager.has_regions
    assert loaded.networks[0](torch.zeros(1, 1, 16, 16, 16)).shape == (1, 2, 16, 16, 16)


def test_chosen_fold_is_the_one_loaded(tmp_path: Path) -> None:
    folder = write_nnunet_folder(tmp_path, folds=(0, 1))
    loaded = load_nnunet_folder(folder, folds=[1])
    expected = torch.load(checkpoint_of(folder, 1), weights_only=False)["network_weights"]
    assert loaded.folds == ("1",)
    assert all(torch.equal(loaded.networks[0].state_dict()[name], tensor) for name, tensor in expected.items())


def test_folds_are_in_numeric_order(tmp_path: Path) -> None:
    assert load_nnunet_folder(write_nnunet_folder(tmp_path, folds=(10, 2))).folds == ("2", "10")


def test_fold_all_is_used_when_no_numbered_fold_is_there(tmp_path: Path) -> None:
    assert load_nnunet_folder(write_nnunet_folder(tmp_path, folds=("all",))).folds == ("all",)


def test_best_checkpoint_stands_in_for_the_final_one_and_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint_of(folder).rename(folder / "fold_0" / "checkpoint_best.pth")
    with caplog.at_level(logging.WARNING):
        load_nnunet_folder(folder)
    assert "using checkpoint_best.pth" in caplog.text


def test_configuration_that_inherits_loads(folder: Path) -> None:
    edit_json(folder / "plans.json", "configurations", "3d_bs4", value={"inherits_from": "3d_fullres", "batch_size": 4})
    content = torch.load(checkpoint_of(folder), weights_only=False)
    edit_checkpoint(checkpoint_of(folder), init_args={**content["init_args"], "configuration": "3d_bs4"})
    loaded = load_nnunet_folder(folder)
    assert loaded.configuration_manager.batch_size == 4
    assert loaded.configuration_manager.patch_size == [16, 16, 16]


def change_a_weight(checkpoint: Path) -> None:
    weights = torch.load(checkpoint, weights_only=False)["network_weights"]
    next(iter(weights.values())).view(-1)[0] += 1e-6
    edit_checkpoint(checkpoint, network_weights=weights)


def test_content_hash_follows_the_weights_in_use(tmp_path: Path) -> None:
    folder = write_nnunet_folder(tmp_path, folds=(0, 1))
    before = load_nnunet_folder(folder, folds=[0]).content_hash
    change_a_weight(checkpoint_of(folder, 1))
    assert load_nnunet_folder(folder, folds=[0]).content_hash == before
    change_a_weight(checkpoint_of(folder, 0))
    assert load_nnunet_folder(folder, folds=[0]).content_hash != before


def test_content_hash_does_not_follow_what_prediction_does_not_read(folder: Path) -> None:
    before = load_nnunet_folder(folder).content_hash
    edit_checkpoint(checkpoint_of(folder), current_epoch=7, optimizer_state=None, logging=None)
    assert load_nnunet_folder(folder).content_hash == before


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("plans.json", (*FULL, "spacing"), [2.0, 1.0, 1.0]),
        ("dataset.json", ("channel_names", "0"), "CT"),
    ],
)
def test_content_hash_follows_plans_and_dataset(folder: Path, name: str, keys: tuple[str, ...], value: Any) -> None:
    before = load_nnunet_folder(folder).content_hash
    edit_json(folder / name, *keys, value=value)
    assert load_nnunet_folder(folder).content_hash != before


def test_content_hash_follows_the_configuration(folder: Path) -> None:
    before = load_nnunet_folder(folder).content_hash
    plans = json.loads((folder / "plans.json").read_text())
    with_twin = {**plans["configurations"], "twin": {"inherits_from": "3d_fullres"}}
    edit_json(folder / "plans.json", "configurations", value=with_twin)
    same_configuration = load_nnunet_folder(folder).content_hash
    edit_checkpoint(checkpoint_of(folder), init_args={"configuration": "twin"})
    assert len({before, same_configuration, load_nnunet_folder(folder).content_hash}) == 3


def test_content_hash_follows_the_order_of_the_folds(tmp_path: Path) -> None:
    folder = write_nnunet_folder(tmp_path, folds=(0, 1))
    hashes = {load_nnunet_folder(folder, folds=order).content_hash for order in ([0, 1], [1, 0], [0], [1])}
    assert len(hashes) == 4


def test_stock_trainers_are_nnunets_own_and_keep_the_network() -> None:
    from nnunetv2.training.nnUNetTrainer import variants
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    stock = {"nnUNetTrainer": nnUNetTrainer}
    for module in pkgutil.walk_packages(variants.__path__, variants.__name__ + "."):
        classes = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        stock |= {name: cls for name, cls in classes if issubclass(cls, nnUNetTrainer)}
    assert set(stock) >= TRAINERS
    for name in TRAINERS:
        assert stock[name].build_network_architecture is nnUNetTrainer.build_network_architecture


def test_checkpoint_written_with_numpy_1_loads(folder: Path) -> None:
    rewrite_pickle(checkpoint_of(folder), b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert load_nnunet_folder(folder).folds == ("0",)


def rewrite_pickle(checkpoint: Path, old: bytes, new: bytes) -> None:
    """Replace a module name in a checkpoint's pickle (protocol 2 names them as lines of text)."""
    with zipfile.ZipFile(checkpoint) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    assert any(old in content for name, content in entries.items() if name.endswith("data.pkl"))
    with zipfile.ZipFile(checkpoint, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


# ---- code in a checkpoint


def test_pickle_that_runs_code_is_refused_by_name_and_does_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    edit_checkpoint(checkpoint_of(folder), extra=WritesMarker(marker))
    message = refusal(folder)
    assert "holds code" in message
    assert "eval" in message
    assert not marker.exists()


def test_payload_would_run_in_an_unsafe_load(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(WritesMarker(marker)))
    assert marker.exists()


def test_payload_in_place_of_the_weights_does_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    torch.save(WritesMarker(marker), checkpoint_of(folder))
    assert "holds code" in refusal(folder)
    assert not marker.exists()


def test_payload_in_a_bare_pickle_does_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    checkpoint_of(folder).write_bytes(pickle.dumps(WritesMarker(marker)))
    assert "truncated or damaged" in refusal(folder)
    assert not marker.exists()


def test_postprocessing_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (folder / "postprocessing.pkl").write_bytes(pickle.dumps(WritesMarker(marker)))
    load_nnunet_folder(folder)
    assert not marker.exists()


def test_object_array_in_the_log_is_refused(folder: Path) -> None:
    edit_checkpoint(checkpoint_of(folder), logging={"x": np.array([object()], dtype=object)})
    assert "holds code" in refusal(folder)


# ---- names in plans.json


@pytest.mark.parametrize(
    "keys",
    [
        ("label_manager",),
        ("image_reader_writer",),
        (*FULL, "preprocessor_name"),
        (*FULL, "resampling_fn_data"),
        (*FULL, "resampling_fn_seg"),
        (*FULL, "resampling_fn_probabilities"),
        (*FULL, "architecture", "network_class_name"),
        (*ARGUMENTS, "conv_op"),
        (*ARGUMENTS, "norm_op"),
        (*ARGUMENTS, "dropout_op"),
        (*ARGUMENTS, "nonlin"),
    ],
    ids=lambda keys: keys[-1],
)
@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", ["os.system"], {"a": 1}])
def test_foreign_name_in_plans_is_refused_by_name(folder: Path, keys: tuple[str, ...], name: Any) -> None:
    edit_json(folder / "plans.json", *keys, value=name)
    assert repr(name) in refusal(folder)


def test_foreign_normalization_is_refused_by_name(folder: Path) -> None:
    edit_json(folder / "plans.json", *FULL, "normalization_schemes", value=["os.system"])
    assert "normalization 'os.system'" in refusal(folder)


def test_foreign_imported_argument_is_refused_by_name(folder: Path) -> None:
    edit_json(folder / "plans.json", *FULL, "architecture", "_kw_requires_import", value=["conv_op", "block"])
    assert "'block'" in refusal(folder)


def test_a_class_that_is_named_and_not_listed_for_import_is_refused_as_nnunet_cannot_call_it(folder):
    edit_json(folder / "plans.json", *FULL, "architecture", "_kw_requires_import", value=["conv_op"])
    assert "by a name and does not list it" in refusal(folder)


def test_foreign_name_that_is_inherited_is_refused(folder: Path) -> None:
    plans = json.loads((folder / "plans.json").read_text())
    base = {**plans["configurations"]["3d_fullres"], "preprocessor_name": "os.system"}
    child = {"inherits_from": "base"}
    edit_json(folder / "plans.json", "configurations", value={"base": base, "3d_fullres": child})
    assert "'os.system'" in refusal(folder)


def test_foreign_name_in_a_configuration_that_is_not_used_cannot_be_reached(folder: Path) -> None:
    edit_json(folder / "plans.json", "configurations", "2d", "preprocessor_name", value="os.system")
    edit_json(folder / "plans.json", "experiment_planner_used", value="os.system")
    plans = load_nnunet_folder(folder).plans_manager.plans
    assert "os.system" not in json.dumps(plans)


def test_foreign_reader_in_dataset_json_is_refused(folder: Path) -> None:
    edit_json(folder / "dataset.json", "overwrite_image_reader_writer", value="os.system")
    assert "dataset.json names the image reader 'os.system'" in refusal(folder)


@pytest.mark.parametrize("trainer", ["os.system", None, ["a"], ""])
def test_what_is_no_trainers_name_is_refused_by_it(folder: Path, trainer: Any) -> None:
    edit_checkpoint(checkpoint_of(folder), trainer_name=trainer)
    assert repr(trainer) in refusal(folder)


# ---- damaged or unfitting folders


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_exported_zip_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "model.zip").touch()
    assert "unpack" in refusal(tmp_path / "model.zip")


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_missing_or_invalid_json_is_refused_by_name(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert name in refusal(folder)


@pytest.mark.parametrize("entry", ["configurations", "image_reader_writer"])
def test_plans_without_an_entry_are_refused_by_its_name(folder: Path, entry: str) -> None:
    plans = json.loads((folder / "plans.json").read_text())
    del plans[entry]
    (folder / "plans.json").write_text(json.dumps(plans))
    assert f"'{entry}'" in refusal(folder)


def test_folder_without_folds_is_refused(folder: Path) -> None:
    checkpoint_of(folder).unlink()
    assert "no fold_*/checkpoint_final.pth" in refusal(folder)


@pytest.mark.parametrize("fold", [3, "all", "../model/fold_0", ""])
def test_fold_that_is_not_there_is_refused_with_those_that_are(folder: Path, fold: int | str) -> None:
    assert "choose from: 0" in refusal(folder, folds=[fold])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_checkpoint_is_refused(folder: Path, share: float) -> None:
    whole = checkpoint_of(folder).read_bytes()
    checkpoint_of(folder).write_bytes(whole[: int(share * len(whole))])
    assert "truncated or damaged" in refusal(folder)


def test_zip_that_is_no_checkpoint_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(checkpoint_of(folder), "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "truncated or damaged" in refusal(folder)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"network_weights": 1, "init_args": None}])
def test_checkpoint_of_another_tool_is_refused(folder: Path, content: Any) -> None:
    torch.save(content, checkpoint_of(folder))
    assert "is not an nnU-Net v2 checkpoint" in refusal(folder)


def test_weights_of_another_architecture_are_refused_with_the_first_mismatch(folder: Path, tmp_path: Path) -> None:
    other = write_nnunet_folder(tmp_path / "other", architecture="ResidualEncoderUNet")
    checkpoint_of(folder).write_bytes(checkpoint_of(other).read_bytes())
    assert "do not fit the network" in refusal(folder)


def test_weights_of_another_size_are_refused_with_both_shapes(folder: Path, tmp_path: Path) -> None:
    other = write_nnunet_folder(tmp_path / "other", features=(6, 8, 8))
    checkpoint_of(folder).write_bytes(checkpoint_of(other).read_bytes())
    assert "(6, 1, 3, 3, 3), not (4, 1, 3, 3, 3)" in refusal(folder)


def test_arguments_that_build_no_network_are_refused(folder: Path) -> None:
    edit_json(folder / "plans.json", *ARGUMENTS, "features_per_stage", value=[4])
    assert "cannot be built" in refusal(folder)


def test_2d_configuration_is_refused(tmp_path: Path) -> None:
    assert "'2d' is 2D" in refusal(write_nnunet_folder(tmp_path, configuration="2d"))


def test_cascade_configuration_is_refused(folder: Path) -> None:
    edit_json(folder / "plans.json", *FULL, "previous_stage", value="3d_lowres")
    assert "cascade on '3d_lowres'" in refusal(folder)


def test_configurations_that_inherit_in_a_circle_are_refused(folder: Path) -> None:
    edit_json(folder / "plans.json", *FULL, "inherits_from", value="3d_fullres")
    assert "no usable configuration" in refusal(folder)


def test_folds_of_different_trainings_are_refused(tmp_path: Path) -> None:
    folder = write_nnunet_folder(tmp_path, folds=(0, 1))
    edit_checkpoint(checkpoint_of(folder, 1), trainer_name="nnUNetTrainer_100epochs")
    assert "use folds of one training" in refusal(folder)


def test_labels_without_background_are_refused(folder: Path) -> None:
    edit_json(folder / "dataset.json", "labels", value={"GTV": 1})
    assert "'labels.background' is None, not 0" in refusal(folder)


def test_channels_that_differ_between_the_files_are_refused(folder: Path) -> None:
    edit_json(folder / "dataset.json", "channel_names", value={"0": "CT", "1": "PET"})
    assert "2 channels" in refusal(folder)


@pytest.mark.parametrize("axes", [(3,), (0, 0), "abc", [[0]]])
def test_impossible_mirroring_axes_are_refused(folder: Path, axes: Any) -> None:
    edit_checkpoint(checkpoint_of(folder), inference_allowed_mirroring_axes=axes)
    assert "mirroring axes" in refusal(folder)


def paths_to_values(content: dict[str, Any]) -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for key, value in content.items():
        paths.append((key,))
        if isinstance(value, dict):
            paths += [(key, *path) for path in paths_to_values(value)]
    return paths


@pytest.mark.quick(value=3, every=3)
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("value", [None, 3, []], ids=repr)
def test_plans_with_an_entry_of_the_wrong_type_load_or_are_refused_in_one_line(
    folder: Path, value: Any, every: int
) -> None:
    original = (folder / "plans.json").read_text()
    full = json.loads(original)["configurations"]["3d_fullres"]
    for path in paths_to_values(full)[::every]:
        edit_json(folder / "plans.json", *FULL, *path, value=value)
        message = refusal_if_any(folder)
        assert "\n" not in message, path
        (folder / "plans.json").write_text(original)


def refusal_if_any(folder: Path) -> str:
    try:
        load_nnunet_folder(folder)
    except UserInputError as error:
        return str(error)
    return ""
