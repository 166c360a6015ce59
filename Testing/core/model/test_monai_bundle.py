"""MONAI bundles against MONAI's own parser, transforms and inferer; and what is refused without running anything."""

import json
import pickle
import shutil

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import decollate_batch, list_data_collate
from monai.transforms import CropForegroundd, Orientationd, Spacingd

from bundles import PROVENANCE, random_fusion
from context_propagation.core.bundle.bundle import load_bundle, load_model
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import whole
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.model_kinds import kind_of, load_base_model
from context_propagation.core.model.monai_bundle import load_monai_bundle
from context_propagation.core.model.monai_preprocessing import MonaiPreprocessing
from context_propagation.core.model.target import Target
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from monai_bundles import NETWORK, PREPROCESSING, configuration, metadata, write_monai_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_monai_bundle(tmp_path_factory.mktemp("bundle") / "spleen")


@pytest.fixture(scope="module")
def model(bundle):
    return load_monai_bundle(bundle, device="cpu")


def a_volume(shape=(20, 36, 30), seed=0):
    """An LPS volume of 1.2 x 1.4 x 3 mm whose values spread over the window of the bundle."""
    values = np.random.default_rng(seed).uniform(-150, 250, size=(1, *shape)).astype(np.float32)
    to_lps = np.diag([1.2, 1.4, 3.0, 1.0])
    to_lps[:3, 3] = (-20, 15, 40)
    return SourceVolume(values, to_lps)


def with_transforms(*transforms, **changes):
    return configuration(preprocessing={"_target_": "Compose", "transforms": list(transforms)}, **changes)


def written(folder, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "configs/inference.json").write_text(json.dumps(content))
    return copy


# ---- what is read


def test_a_bundle_is_told_by_its_files_and_read(bundle, model):
    assert kind_of(bundle) == "monai"
    assert load_base_model(bundle, device="cpu").content_hash == model.content_hash
    assert model.target == Target("spleen", 1, (1,))
    assert model.channel_names == ["CT"]
    assert model.patch_size == (16, 16, 16)
    assert (model.sliding_window.overlap, model.sliding_window.weights) == ((0.5, 0.5, 0.5), "constant")
    assert model.orientation == "RAS"
    assert (model.folds, model.loss) == (("all",), "dice and cross-entropy")


def test_the_network_is_the_one_that_monai_builds(bundle, model):
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs/inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(model_weights(bundle))
    x = torch.rand(1, 1, 32, 32, 32)

    with torch.no_grad():
        torch.testing.assert_close(model.splits[0].encode(x, 2).logits, network(x), atol=1e-5, rtol=1e-5)


def model_weights(bundle):
    from safetensors.torch import load_file

    return load_file(bundle / "models/model.safetensors")


def test_it_predicts_what_monais_own_workflow_predicts(bundle, model, tmp_path):
    volume = a_volume()
    to_ras = np.diag([-1, -1, 1, 1]) @ volume.ijk_to_lps
    nibabel.save(nibabel.Nifti1Image(volume.channels[0].transpose(2, 1, 0), to_ras), tmp_path / "ct.nii.gz")
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs/inference.json"))
    parser["postprocessing"]["transforms"] = parser["postprocessing"]["transforms"][:3]
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(model_weights(bundle))
    batch = list_data_collate([parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "ct.nii.gz")})])
    with torch.no_grad():
        batch["pred"] = parser.get_parsed_content("inferer")(batch["image"], network)
    raw = batch["pred"].as_tensor().clone()
    after = parser.get_parsed_content("postprocessing")(decollate_batch(batch)[0])
    theirs = after["pred"][0].numpy().astype(bool).transpose(2, 1, 0)

    prepared = model.prepare(volume)
    mine = model.predict(prepared)

    torch.testing.assert_close(prepared.network_input, batch["image"][0].as_tensor(), atol=1e-5, rtol=1e-5)
    assert 0 < theirs.sum() < theirs.size
    assert mine.shape == theirs.shape
    assert (mine != theirs).mean() < 0.02  # MONAI interpolates probabilities back, the engine logits
    grid = prepared.grid
    probabilities = grid.to_image(torch.softmax(raw, 1), (0, 0, 0), grid.crop)[0].numpy()
    by_probabilities = prepared.axes.undo(probabilities)
    near_a_tie = np.abs(by_probabilities[1] - by_probabilities[0]) < 1e-3
    assert near_a_tie.mean() < 0.01
    np.testing.assert_array_equal((by_probabilities[1] > by_probabilities[0])[~near_a_tie], theirs[~near_a_tie])


def test_an_edit_goes_through(model):
    volume = a_volume()
    session = Session(model, SessionSettings(level=2, neighbours=1))
    session.set_image(volume)
    before = session.segmentation.copy()
    drawn = before[10].copy()
    drawn[10:20, 8:18] = True
    drawn[:8] = False

    result = session.propagate([SliceEdit(0, 10, drawn)])

    assert np.array_equal(result.segmentation[10], drawn)
    assert result.updates[0].loss_after < result.updates[0].loss_before
    far = [k for k in range(20) if abs(k - 10) > 1]
    assert np.array_equal(result.segmentation[far], before[far])


def test_pickled_and_safetensors_weights_give_the_same_model(tmp_path, model):
    pickled = load_monai_bundle(write_monai_bundle(tmp_path / "b", weights="model.pt"), device="cpu")

    assert pickled.content_hash == model.content_hash


def test_a_yaml_configuration_is_read_too(bundle, tmp_path, model):
    import yaml

    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "configs/inference.json").unlink()
    (copy / "configs/inference.yaml").write_text(yaml.safe_dump(configuration()))

    assert load_monai_bundle(copy, device="cpu").patch_size == model.patch_size


def test_macros_and_nested_references_are_resolved(bundle, tmp_path):
    content = configuration(
        sizes={"roi": [32, 32, 32]},
        inferer={"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": "%sizes::roi"},
        network_def="@nets::0",
        nets=[NETWORK],
    )

    assert load_monai_bundle(written(bundle, tmp_path, content), device="cpu").patch_size == (32, 32, 32)


def test_several_labels_regions_and_the_training_loss(tmp_path):
    after = [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]
    folder = write_monai_bundle(tmp_path / "b", postprocessing={"_target_": "Compose", "transforms": after})
    (folder / "configs/train.json").write_text(json.dumps({"loss": {"_target_": "DiceLoss", "sigmoid": True}}))

    with pytest.raises(UserInputError, match=r"several labels: background \(1\), spleen \(2\)"):
        load_monai_bundle(folder, device="cpu")
    model = load_monai_bundle(folder, label="spleen", device="cpu")
    assert model.target == Target("spleen", 1, (2,))
    assert model.loss == "dice"
    assert model.output.activation == "sigmoid"


def test_a_project_bundle_holds_a_monai_bundle(bundle, tmp_path, model):
    fusion = random_fusion(channels=model.splits[0].f_channels(2))

    save_bundle(tmp_path / "ours", bundle, fusion, PROVENANCE, label="spleen")
    loaded = load_model(tmp_path / "ours", device="cpu")

    assert loaded.model.content_hash == model.content_hash
    assert loaded.fusion_sha256 == fusion.content_hash
    assert sorted(str(f.relative_to(tmp_path / "ours/model")) for f in (tmp_path / "ours/model").rglob("*.*")) == [
        "configs/inference.json",
        "configs/metadata.json",
        "models/model.safetensors",
    ]
    with pytest.raises(UserInputError, match="for 9 channels, and the base model has 16 at level 2"):
        save_bundle(tmp_path / "bad", bundle, random_fusion(channels=9), PROVENANCE, label="spleen")
    assert load_bundle(tmp_path / "ours", "cpu")[0].target_name == "spleen"


# ---- the map between the grids


TURN = np.eye(4)
TURN[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]


@pytest.mark.parametrize(
    "transforms",
    [
        [Spacingd("image", (1.0, 1.5, 2.0), mode="bilinear")],
        [Spacingd("image", (1.0, 1.5, 2.0), mode="bilinear", scale_extent=True, align_corners=True)],
        [Orientationd("image", "LPS"), Spacingd("image", (0.6, 2.0, 3.0))],
        [Orientationd("image", "SPL"), Spacingd("image", (1.0, 1.0, 1.0))],
        [CropForegroundd("image", source_key="image", margin=2)],
        [CropForegroundd("image", source_key="image"), Spacingd("image", (1.0, 1.0, 1.0))],
    ],
)
@pytest.mark.parametrize("turn", [np.eye(4), TURN])
def test_the_grid_map_says_where_the_transforms_put_each_voxel(transforms, turn):
    k, j, i = np.meshgrid(np.arange(12), np.arange(20), np.arange(16), indexing="ij")
    image = (100 * k + 5.0 * j - 2.0 * i - 300).astype(np.float32)  # linear: trilinear interpolation is exact

    prepared = MonaiPreprocessing(tuple(transforms), ("MR",)).prepare(
        SourceVolume(image[None], turn @ np.diag([0.8, 1.1, 3.0, 1.0]))
    )
    grid = prepared.grid

    axes = [(np.arange(n) - start) / step for n, (start, step) in zip(grid.network_shape, grid.linear, strict=True)]
    order = prepared.axes.order
    at = dict(zip(order, np.meshgrid(*axes, indexing="ij"), strict=True))
    inside = np.all([(at[a] >= grid.crop[order.index(a)][0]) & (at[a] <= (11, 19, 15)[a]) for a in at], axis=0)
    expected = 100 * at[0] + 5 * at[1] - 2 * at[2] - 300
    assert inside.mean() > 0.5
    np.testing.assert_allclose(prepared.network_input[0].numpy()[inside], expected[inside], atol=1e-3)


def test_the_engine_interpolates_where_that_map_says():
    transforms = (Spacingd("image", (1.0, 1.5, 2.0), mode="bilinear"),)
    j = np.broadcast_to(np.arange(20.0)[None, :, None], (12, 20, 16)).astype(np.float32)
    prepared = MonaiPreprocessing(transforms, ("MR",)).prepare(SourceVolume(j[None], np.diag([0.8, 1.1, 3.0, 1.0])))
    grid = prepared.grid

    back = grid.to_image(prepared.network_input[None], (0, 0, 0), grid.crop)[0, 0].numpy().transpose(2, 1, 0)

    np.testing.assert_allclose(back[:, :18], j[:, :18], atol=1e-4)  # the last network voxel lies beyond the image


def test_where_the_transforms_crop_the_image_the_prediction_still_covers_all_of_it(tmp_path):
    crops = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"}
    transforms = [*configuration()["preprocessing"]["transforms"], crops]
    folder = write_monai_bundle(tmp_path / "b", preprocessing={"_target_": "Compose", "transforms": transforms})
    volume = a_volume()
    volume.channels[:, :4] = volume.channels.min()
    model = load_monai_bundle(folder, device="cpu")
    session = Session(model)

    session.set_image(volume)

    assert session.cache.prepared.grid.crop != whole(session.cache.prepared.image_shape)
    assert session.segmentation.shape == volume.shape_kji
    assert session.segmentation.any()
    assert not session.segmentation[:3].any()  # the first sample that is kept lies between slices 3 and 4


def test_transforms_that_mirror_the_grid_are_refused():
    mirrors = MonaiPreprocessing((Orientationd("image", "RAS"),), ("MR",))

    with pytest.raises(UserInputError, match="turn, lean or mirror"):
        mirrors.prepare(SourceVolume(np.zeros((1, 4, 5, 6), np.float32), np.eye(4)))


# ---- what is refused; nothing in it runs


def test_an_expression_is_refused_and_runs_nothing(bundle, tmp_path):
    proof = tmp_path / "it_ran"
    code = f"$__import__('pathlib').Path({str(proof)!r}).write_text('x') and 2"
    for number, content in enumerate(
        (
            configuration(network_def=NETWORK | {"out_channels": code}),
            configuration(network_def=code),
            configuration(classes=code),
            with_transforms(PREPROCESSING[0], {"_target_": "Spacingd", "keys": "image", "pixdim": code}),
            with_transforms(code),
            configuration(inferer={"_target_": "SlidingWindowInferer", "roi_size": code}),
            configuration(postprocessing=code),
            configuration(network_def=NETWORK | {"_target_": code}),
        )
    ):
        folder = written(bundle, tmp_path / str(number), content)
        with pytest.raises(UserInputError) as refused:
            load_base_model(folder, device="cpu")
        assert "nothing was run" in str(refused.value) or "not supported" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not proof.exists()


def test_a_trusted_bundles_expressions_run(bundle, tmp_path):
    proof = tmp_path / "it_ran"
    code = f"$__import__('pathlib').Path({str(proof)!r}).write_text('x') and 2"
    folder = written(bundle, tmp_path, configuration(classes=code))

    model = load_base_model(folder, device="cpu", trust=True)

    assert proof.exists()
    assert model.target_name == "spleen"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_def": {"_target_": "os.system", "command": "true"}}, r"names the network 'os.system'"),
        ({"network_def": {"_target_": "subprocess.UNet"}}, r"names the network 'subprocess.UNet'"),
        ({"network_def": NETWORK | {"_mode_": "debug"}}, "'_mode_', which is not supported"),
        ({"network_def": NETWORK | {"channels": "@nowhere"}}, "refers to 'nowhere', which it lacks"),
        ({"a": "@b", "b": "@a", "network_def": "@a"}, "refers to itself"),
        ({"network_def": NETWORK | {"colour": 1}}, "the network UNet at 'network_def' cannot be built"),
        ({"classes": 5}, "names 2 output channels .background, spleen. and the network has 5"),
        ({"network_def": NETWORK | {"channels": [4, 8, 8, 12]}}, "do not fit the network"),
        (
            {"preprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Resized", "keys": "image"}]}},
            "names the transform 'Resized'",
        ),
        (
            {"preprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Lambdad", "keys": "image"}]}},
            "names the transform 'Lambdad'",
        ),
        (
            {"postprocessing": [{"_target_": "KeepLargestConnectedComponentd", "keys": "pred"}]},
            "names the postprocessing 'KeepLargestConnectedComponentd'",
        ),
        ({"postprocessing": [{"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.3}]}, "thresholds at 0.3"),
        ({"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32]}}, r"The bundle's window is \[32, 32\]"),
        (
            {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [36, 32, 32]}},
            "not take an image .1, 1, 36",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(bundle, tmp_path, changes, said):
    with pytest.raises(UserInputError, match=said):
        load_base_model(written(bundle, tmp_path, configuration(**changes)), device="cpu")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_weights_that_hold_code_are_refused_and_run_nothing(tmp_path, write):
    folder = write_monai_bundle(tmp_path / "b", weights="model.pt")
    write({"weight": Malicious(tmp_path / "it_ran")}, folder / "models/model.pt")

    with pytest.raises(UserInputError, match="nothing was run"):
        load_base_model(folder, device="cpu")

    assert not (tmp_path / "it_ran").exists()


def test_torchscript_is_refused_as_a_program(tmp_path):
    folder = write_monai_bundle(tmp_path / "b", weights="model.pt")
    scripted = torch.jit.script(torch.nn.Conv3d(1, 2, 1))
    torch.jit.save(scripted, folder / "models/model.pt")
    with pytest.raises(UserInputError, match="TorchScript archive, which is a program; it is not run"):
        load_base_model(folder, device="cpu")

    (folder / "models/model.pt").rename(folder / "models/model.ts")
    with pytest.raises(UserInputError, match=r"model.ts' is a TorchScript archive"):
        load_base_model(folder, device="cpu")


def test_what_is_missing_is_named(bundle, tmp_path):
    for number, (name, said) in enumerate(
        (
            ("models/model.safetensors", "has no models/model.safetensors or models/model.pt"),
            ("configs/metadata.json", "metadata.json' is missing"),
            ("configs/inference.json", "has no configs/inference.json"),
        )
    ):
        copy = tmp_path / str(number)
        shutil.copytree(bundle, copy)
        (copy / name).unlink()
        with pytest.raises(UserInputError, match=said):
            load_base_model(copy, device="cpu")


def test_labels_that_do_not_fit_the_network_and_other_folds_are_refused(bundle, tmp_path):
    folder = write_monai_bundle(tmp_path / "b", described=metadata(3))

    with pytest.raises(UserInputError, match="names 3 output channel.* and the network has 2"):
        load_base_model(folder, device="cpu")
    with pytest.raises(UserInputError, match="one network, fold all"):
        load_base_model(bundle, device="cpu", folds=[1])
    with pytest.raises(UserInputError, match="no label 'liver'"):
        load_base_model(bundle, label="liver", device="cpu")
