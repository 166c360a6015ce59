"""What a bundle's configuration says is used as MONAI uses it, or refused before the network is built."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import SwinUNETR, UNet
from monai.transforms import KeepLargestConnectedComponent

from context_propagation.core.callbacks import never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model import monai_bundle
from context_propagation.core.model.largest_components import LargestComponents
from context_propagation.core.model.model_kinds import load_base_model
from context_propagation.core.model.monai_bundle import load_monai_bundle
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from monai_bundles import NETWORK, configuration, write_monai_bundle

NOTHING = {"_target_": "Compose", "transforms": []}
DECIDED = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_monai_bundle(tmp_path_factory.mktemp("bundle") / "b", preprocessing=NOTHING)


@pytest.fixture
def loaded(bundle, tmp_path):
    """Load a copy of the bundle with other entries."""

    def _loaded(trust=False, **changes):
        copy = tmp_path / "copy"
        shutil.copytree(bundle, copy, dirs_exist_ok=True)
        content = configuration(**{"preprocessing": NOTHING, **changes})
        (copy / "configs/inference.json").write_text(json.dumps(content))
        return load_monai_bundle(copy, device="cpu", trust=trust)

    return _loaded


def inferer(**arguments):
    return {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "overlap": 0.5} | arguments


# ---- the inferer


@pytest.mark.quick(arguments=("reflected", "a value around it", "a Gaussian of each axis"))
@pytest.mark.parametrize(
    "arguments",
    [
        {"padding_mode": "replicate"},
        {"padding_mode": "reflect"},
        {"padding_mode": "circular"},
        {"cval": -7.5},
        {"mode": "gaussian", "sigma_scale": 0.05},
        {"mode": "gaussian", "sigma_scale": [0.3, 0.1, 0.2], "overlap": [0.25, 0.5, 0.75]},
    ],
    ids=["replicated", "reflected", "circular", "a value around it", "a Gaussian", "a Gaussian of each axis"],
)
def test_windows_are_put_together_as_the_bundles_own_inferer_does(bundle, loaded, arguments):
    from safetensors.torch import load_file

    shape = (20, 40, 24)  # narrower than the window along two axes, as k, j, i
    values = (100 + 30 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)
    network = UNet(3, 1, 2, [4, 8, 8, 16], [2, 2, 2], num_res_units=1).eval()
    network.load_state_dict(load_file(bundle / "models/model.safetensors"))
    given = {"overlap": 0.5, **arguments}
    with torch.no_grad():
        x = torch.from_numpy(values.transpose(2, 1, 0).copy())[None, None]
        own = SlidingWindowInferer((32, 32, 32), **given)(x, network)

    model = loaded(inferer=inferer(**given))
    prepared = model.prepare(SourceVolume(values[None], np.eye(4)))
    logits = model._sliding_window_logits(0, prepared, no_progress, never_cancelled)

    torch.testing.assert_close(logits, own, atol=1e-4, rtol=1e-4)


def test_the_engines_windows_are_padded_as_the_inferer_pads(loaded):
    values = (100 + 30 * np.random.default_rng(0).normal(size=(20, 20, 20))).astype(np.float32)
    session = Session(loaded(inferer=inferer(padding_mode="replicate")), SessionSettings(level=1))

    session.set_image(SourceVolume(values[None], np.eye(4)))

    assert 0.02 < session.initial.mean() < 0.98
    assert np.array_equal(session.window_prediction, session.initial)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"_target_": "SimpleInferer"}, "names the inferer 'SimpleInferer'; only SlidingWindowInferer"),
        ({"_target_": "SliceInferer", "roi_size": [32, 32]}, "names the inferer 'SliceInferer'"),
        (inferer(padding_mode="mirror"), "pads with 'mirror'"),
        (inferer(cval="x"), "pads with 'constant' and 'x'"),
        (inferer(sigma_scale=0), "'sigma_scale' of the inferer is 0"),
        (inferer(overlap=1), "'overlap' of the inferer is 1"),
        (inferer(overlap=[0.5, 0.5]), r"'overlap' of the inferer is \[0.5, 0.5\]"),
        (inferer(mode="cosine"), "cosine weights"),
        (inferer(with_coord=True), "the inferer's argument 'with_coord' is not known"),
        (inferer(roi_size=[32, 32, 10**9]), "The bundle's window is"),
        (inferer(roi_size=[32, 32, True]), "The bundle's window is"),
    ],
)
def test_an_inferer_that_is_not_known_is_refused_before_the_network_is_built(loaded, monkeypatch, described, said):
    monkeypatch.setattr(monai_bundle, "_network", lambda *_: pytest.fail("the network was built"))
    with pytest.raises(UserInputError, match=said):
        loaded(inferer=described)


# ---- the postprocessing


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([*DECIDED, {"_target_": "Lambdad", "keys": "pred"}], "names the postprocessing 'Lambdad'"),
        ([{"_target_": "KeepLargestConnectedComponentd", "keys": "pred"}, *DECIDED], "names the postprocessing"),
        ([*DECIDED, {"_target_": "FillHolesd", "keys": "pred"}], "names the postprocessing 'FillHolesd'"),
        ([{"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}], "thresholds logits at 0.5"),
        ([{"_target_": "AsDiscreted", "argmax": True}], "'pred' must be among them"),
        (
            [{"_target_": "Activationsd", "keys": [], "softmax": True}, *DECIDED],
            r"Activationsd changes \[\]; 'pred' must",
        ),
        ([{"_target_": "AsDiscreted", "keys": "pred", "argmax": True, "rounding": "x"}], "'rounding' of AsDiscreted"),
        (
            [*DECIDED, {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "connectivity": 2}],
            "has the connectivity 2",
        ),
        (
            [*DECIDED, {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "num_components": 0}],
            "keeps 0 components",
        ),
    ],
)
def test_postprocessing_that_is_not_known_is_refused_before_the_network_is_built(loaded, monkeypatch, items, said):
    monkeypatch.setattr(monai_bundle, "_network", lambda *_: pytest.fail("the network was built"))
    with pytest.raises(UserInputError, match=said):
        loaded(postprocessing={"_target_": "Compose", "transforms": items})


def test_an_argmax_of_sigmoids_excludes_labels_from_each_other(loaded):
    items = [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}, DECIDED[1]]
    assert loaded(postprocessing={"_target_": "Compose", "transforms": items}).output.activation == "softmax"


@pytest.mark.parametrize("connectivity", [None, 1, 3])
@pytest.mark.parametrize("number", [1, 2])
def test_the_largest_components_are_monais(connectivity, number):
    mask = np.random.default_rng(1).random((14, 15, 16)) < 0.25
    theirs = KeepLargestConnectedComponent([1], connectivity=connectivity, num_components=number)
    expected = theirs(torch.from_numpy(mask[None].astype(np.uint8)))[0].numpy().astype(bool)

    found = LargestComponents(number, connectivity != 1).of(mask)

    assert 0 < found.sum() < mask.sum()
    assert np.array_equal(found, expected)
    assert not LargestComponents().of(np.zeros((3, 4, 5), bool)).any()


def test_a_bundle_that_keeps_the_largest_component_predicts_it_alone(loaded):
    values = (100 + 30 * np.random.default_rng(0).normal(size=(32, 32, 32))).astype(np.float32)
    volume = SourceVolume(values[None], np.eye(4))
    keeps = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1], "connectivity": 1}
    other = {**keeps, "applied_labels": [2]}

    def predicted(*items):
        model = loaded(postprocessing={"_target_": "Compose", "transforms": [*DECIDED, *items]})
        return model.predict(model.prepare(volume))

    every, largest = predicted(), predicted(keeps)

    expected = KeepLargestConnectedComponent([1], connectivity=1)(torch.from_numpy(every[None].astype(np.uint8)))[0]
    assert 0 < largest.sum() < every.sum()
    assert np.array_equal(largest, expected.numpy().astype(bool))
    assert np.array_equal(predicted(other), every)


# ---- code, only where it is trusted


@pytest.fixture
def with_scripts(tmp_path):
    """A bundle whose network stands in its own scripts/, with a number that tells it from others."""

    def _made(name: str, number: int):
        network = NETWORK | {"_target_": "scripts.net.OurNet"}
        folder = write_monai_bundle(tmp_path / name, network_def=network, preprocessing=NOTHING)
        (folder / "scripts").mkdir()
        (folder / "scripts/__init__.py").touch()
        text = f"from monai.networks.nets import UNet\n\n\nclass OurNet(UNet):\n    number = {number}\n"
        (folder / "scripts/net.py").write_text(text)
        return folder

    yield _made
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[name]


def test_a_trusted_bundles_network_comes_from_its_own_scripts_and_never_from_anothers(with_scripts):
    path = list(sys.path)
    for number in (1, 2):
        load_base_model(with_scripts(f"b{number}", number), device="cpu", trust=True)
        assert sys.modules["scripts.net"].OurNet.number == number
    assert sys.path == path


def test_scripts_of_a_bundle_that_is_not_trusted_are_not_imported(with_scripts):
    with pytest.raises(UserInputError, match="names the network 'scripts.net.OurNet'"):
        load_base_model(with_scripts("b", 1), device="cpu")
    assert "scripts.net" not in sys.modules


def test_transforms_by_an_expression_are_built_where_the_bundle_is_trusted(loaded):
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -160, "a_max": 240, "b_min": 0, "b_max": 1,
             "clip": True}  # fmt: skip
    entries = {"transforms": [scale], "preprocessing": {"_target_": "Compose", "transforms": "$@transforms"}}
    volume = SourceVolume(np.linspace(-300, 300, 32**3, dtype=np.float32).reshape(1, 32, 32, 32), np.eye(4))

    seen = loaded(trust=True, **entries).prepare(volume).network_input[0].numpy().transpose(2, 1, 0)

    np.testing.assert_allclose(seen, (volume.channels[0].clip(-160, 240) + 160) / 400, atol=1e-6)
    with pytest.raises(UserInputError, match="would run as Python; nothing was run"):
        loaded(**entries)


# ---- published configurations, and values that no bundle can have


def test_arguments_that_monai_dropped_are_left_out_where_they_change_nothing(tmp_path):
    arguments = {"in_channels": 1, "out_channels": 2, "feature_size": 12, "spatial_dims": 3}
    weights = SwinUNETR(**arguments).state_dict()
    described = {"_target_": "SwinUNETR", **arguments, "img_size": 96, "use_checkpoint": True}
    folder = write_monai_bundle(tmp_path / "b", weights="model.pt", network_def=described, preprocessing=NOTHING)
    torch.save(weights, folder / "models/model.pt")

    network, read = monai_bundle._network(monai_bundle.MonaiConfig(folder), folder)

    assert isinstance(network, SwinUNETR)
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_def": NETWORK | {"channels": [4, 8, 8, 60000]}}, "would hold"),
        ({"network_def": NETWORK | {"num_res_units": 10**9}}, "has the argument 1000000000"),
        ({"network_def": NETWORK | {"in_channels": 2}}, "names 1 image channel .CT. and the network takes 2"),
        ({"network_def": NETWORK | {"dropout": float("nan")}}, "'network_def::dropout' is nan, not a finite number"),
        ({"preprocessing": {**NOTHING, "lazy": True}}, "'lazy' of 'preprocessing' is not known"),
        ({"preprocessing": {**NOTHING, "transforms": ["x"]}}, "holds something without a class"),
        (
            {
                "preprocessing": {
                    **NOTHING,
                    "transforms": [{"_target_": "CastToTyped", "keys": "image", "dtype": "uint8"}],
                }
            },
            "casts the image to 'uint8'",
        ),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(loaded, changes, said):
    with pytest.raises(UserInputError, match=said) as refused:
        loaded(**changes)
    assert "\n" not in str(refused.value)


def test_a_voxel_size_that_would_fill_the_memory_is_refused_before_resampling(loaded):
    spacing = {"_target_": "Spacingd", "keys": "image", "pixdim": [1e-4, 1e-4, 1e-4]}
    model = loaded(preprocessing={**NOTHING, "transforms": [spacing]})
    with pytest.raises(UserInputError, match="Spacingd to 80000 x 80000 x 80000 voxels needs"):
        model.prepare(SourceVolume(np.zeros((1, 8, 8, 8), np.float32), np.eye(4)))


def test_weights_and_files_that_lie_elsewhere_or_never_end_are_refused(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    weights = copy / "models/model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserInputError, match="is a link that leaves"):
        load_base_model(copy, device="cpu")
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(UserInputError, match="no ordinary file"):
        load_base_model(copy, device="cpu")
    (copy / "configs/metadata.json").unlink()
    os.mkfifo(copy / "configs/metadata.json")
    with pytest.raises(UserInputError, match="no ordinary file"):
        load_base_model(copy, device="cpu")


def test_a_bundles_clipped_range_is_what_its_image_is_held_against(loaded):
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0.1, "a_max": 0.9, "b_min": 0, "b_max": 1,
             "clip": True}  # fmt: skip
    (expected,) = loaded(preprocessing={**NOTHING, "transforms": [scale]}).channel_expectations
    assert (expected.name, expected.low, expected.high) == ("CT", 0.1, 0.9)
