"""A bundle loads as what was saved, wherever it lies."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from bundle_checks import everything_below, refusal
from bundles import PROVENANCE, random_fusion, write_bundle
from context_propagation.core.bundle.bundle import load_bundle, load_model
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from nnunet_folders import write_nnunet_folder

pytestmark = pytest.mark.usefixtures("one_thread")


def inputs(channels: int = 8, hidden_truth: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    shapes = ((2, channels, 5, 4, 6), (2, channels, 5, 4, 6), (2, 2, 5, 4, 6), (2, 8 + hidden_truth), (2, 2, channels))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def an_image() -> SourceVolume:
    noise = np.random.default_rng(0).normal(size=(1, 16, 18, 20)).astype(np.float32)
    return SourceVolume(noise, np.eye(4))


def predicted(model: NnunetModel) -> np.ndarray:
    return model.predict(model.prepare(an_image()))


@pytest.mark.quick(variant="adaptive")
@pytest.mark.parametrize("variant", ["paper", "adaptive"])
def test_a_loaded_bundle_fuses_features_as_the_saved_networks_do(tmp_path, base, variant):
    fusion = random_fusion(folds=2, variant=variant, far_thresholds=0.25, neighbours=3)
    save_bundle(tmp_path / "b", base, fusion, PROVENANCE, label="GTV")

    _, loaded = load_bundle(tmp_path / "b", device="cpu")

    assert (loaded.level, loaded.neighbours, loaded.far_thresholds) == (2, 3, FarThresholds(0.25, 0.25))
    assert loaded.content_hash == fusion.content_hash
    fused = [
        [network(FusionInputs(*inputs())) for network in networks] for networks in (loaded.networks, fusion.networks)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*fused, strict=True))
    assert not torch.equal(*fused[0])  # so their order was kept
    for network in loaded.networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_bundle_s_model_is_the_base_model_with_the_bundle_s_folds_and_label(base, made):
    model, _ = load_bundle(made, device="cpu")
    original = NnunetModel.load(base, label="GTV", device="cpu", folds=[1, 0])

    labels = predicted(model)

    assert model.content_hash == original.content_hash
    assert model.target == original.target
    assert 0.02 < labels.mean() < 0.98
    assert np.array_equal(labels, predicted(original))


def test_a_bundle_holds_its_description_the_weights_and_a_stripped_model(base, made):
    assert sorted(everything_below(made)) == [
        "bundle.json",
        "fusion_0.safetensors",
        "fusion_1.safetensors",
        "model/dataset.json",
        "model/fold_0/checkpoint_final.pth",
        "model/fold_1/checkpoint_final.pth",
        "model/plans.json",
    ]
    description = json.loads((made / "bundle.json").read_text())
    assert list(description) == [
        *("format", "base", "label", "orientation", "folds", "level", "neighbours", "far_thresholds"),
        *("fusion", "fusion_sha256", "provenance"),
    ]
    assert description["format"] == "context-propagation bundle 1"
    assert description["base"]["folder"] == "model"
    assert description["folds"] == ["1", "0"]
    assert description["fusion"][0] == {
        "file": "fusion_1.safetensors",
        "settings": {"variant": "adaptive", "channels": 8, "width": 0.5},
    }
    assert description["provenance"] == PROVENANCE


def test_whoever_may_read_the_description_may_read_the_weights(made):
    modes = {path.stat().st_mode for path in made.rglob("*") if path.is_file()}
    assert modes == {(made / "bundle.json").stat().st_mode}


def test_nnunet_s_own_predictor_gives_equal_labels_with_the_bundled_model(base, made):
    def labels(folder):
        predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False,
                                    device=torch.device("cpu"), allow_tqdm=False)  # fmt: skip
        predictor.initialize_from_trained_model_folder(str(folder), (0, 1))
        return predictor.predict_single_npy_array(an_image().channels, {"spacing": [1.0, 1.0, 1.0]})

    assert np.array_equal(labels(made / "model"), labels(base))


def test_a_bundle_that_was_copied_and_renamed_needs_nothing_of_where_it_was(tmp_path):
    base = write_nnunet_folder(tmp_path / "model")
    write_bundle(tmp_path / "bundle", base)
    expected = load_bundle(tmp_path / "bundle", device="cpu")
    shutil.move(tmp_path / "bundle", tmp_path / "another name")
    shutil.rmtree(base)

    model, fusion = load_bundle(tmp_path / "another name", device="cpu")

    assert model.content_hash == expected[0].content_hash
    assert fusion.content_hash == expected[1].content_hash


def test_an_orientation_is_kept(tmp_path, base):
    model, _ = load_bundle(write_bundle(tmp_path / "b", base, folds=[0], orientation="PSR"), device="cpu")

    assert model.orientation == "PSR"


def test_a_bundle_may_refer_to_its_base_model(tmp_path, base):
    path = write_bundle(tmp_path / "b", base, folds=[0], copy_base=False)

    model, fusion = load_bundle(path, device="cpu")

    assert sorted(everything_below(path)) == ["bundle.json", "fusion_0.safetensors"]
    assert json.loads((path / "bundle.json").read_text())["base"]["reference"] == str(base)
    assert model.content_hash == NnunetModel.load(base, label="GTV", device="cpu", folds=[0]).content_hash
    assert len(fusion.networks) == 1


def test_a_trained_model_folder_loads_without_a_fusion(base):
    loaded = load_model(base, label="node", device="cpu")

    assert loaded.model.target_name == "node"
    assert loaded.fusion is None


@pytest.mark.quick(label=(None, "1"))
@pytest.mark.parametrize("label", [None, "GTV", "1", 1])
def test_a_bundle_s_label_may_be_named_and_need_not_be(made, label):
    assert load_model(made, label, device="cpu").model.target_name == "GTV"


def test_a_bundle_for_a_region_goes_by_the_region_s_name(tmp_path):
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    path = write_bundle(tmp_path / "b", write_nnunet_folder(tmp_path / "m", **regions), label="whole")

    assert load_model(path, "whole", device="cpu").model.target.label == (1, 2)
    assert "refines the label 'whole', not '1'" in refusal(path, label="1")


def test_the_fusion_hash_follows_settings_and_weights():
    different = [
        {},
        {"level": 1},
        {"neighbours": 2},
        {"far_thresholds": 0.1},
        {"seed": 1},
        {"folds": 2},
        {"width": 1},
        {"variant": "paper"},
    ]
    assert len({random_fusion(**options).content_hash for options in different}) == len(different)
    assert random_fusion(width=1, far_thresholds=0).content_hash == random_fusion(width=1.0).content_hash


def test_a_bundle_without_checkpoint_final_uses_the_best_one_and_says_so(tmp_path, caplog):
    base = write_nnunet_folder(tmp_path / "m", checkpoint="checkpoint_best.pth")
    path = write_bundle(tmp_path / "b", base)
    caplog.clear()

    with caplog.at_level(logging.WARNING):
        load_bundle(path, device="cpu")

    assert (path / "model" / "fold_0" / "checkpoint_best.pth").is_file()
    assert "using checkpoint_best.pth" in caplog.text


def test_the_hash_of_the_saved_networks_is_computed_anew(tmp_path, base):
    claimed = replace(random_fusion(), content_hash="0" * 64)
    save_bundle(tmp_path / "b", base, claimed, PROVENANCE, label="GTV", folds=[0])

    assert load_bundle(tmp_path / "b", device="cpu")[1].content_hash == random_fusion().content_hash


def test_the_hash_in_the_description_is_the_one_that_is_reported(made):
    model, fusion = load_bundle(made, device="cpu")
    description = json.loads((made / "bundle.json").read_text())

    assert description["fusion_sha256"] == fusion.content_hash
    assert description["base"]["sha256"] == model.content_hash
