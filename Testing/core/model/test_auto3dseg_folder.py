"""Models of Slicer's extension MONAI Auto3DSeg: read as data, and predicting what the extension's own script does."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

pytest.importorskip("monai")
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInfererAdapt
from monai.networks.nets import SegResNetDS
from monai.transforms import (
    Compose,
    ConcatItemsd,
    CropForegroundd,
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)

from auto3dseg_folders import LABELS, NETWORK, write_auto3dseg_folder
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.model_kinds import copy_base_model, load_base_model
from context_propagation.core.model.model_listing import describe_model
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings

SHAPE = (20, 26, 30)


def an_image(channels=1) -> SourceVolume:
    """Air around a body of positive values, which the foreground is cut to."""
    rng = np.random.default_rng(0)
    voxels = np.full((channels, *SHAPE), -1000, np.float32)
    voxels[:, 11:, 12:, 13:] = rng.normal(60, 80, (channels, 9, 14, 17))
    return SourceVolume(voxels, np.diag([1.4, 1.2, 2.0, 1.0]))


def by_the_script(volume, mode, bounds, spacing=None):
    """The steps of auto3dseg_segresnet_inference.py up to the network, for one image."""
    affine = torch.from_numpy(np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_lps)
    tensor = MetaTensor(torch.from_numpy(volume.channels.transpose(0, 3, 2, 1).copy()), affine=affine)
    steps = []
    if mode == "range":
        steps = [ScaleIntensityRanged("image", *bounds, -1, 1, clip=False), Lambdad("image", torch.sigmoid)]
    elif mode == "meanstd":
        steps = [NormalizeIntensityd("image", nonzero=True, channel_wise=True)]
    elif mode == "meanstdtanh":
        steps = [NormalizeIntensityd("image", nonzero=True, channel_wise=True)]
        steps += [Lambdad("image", lambda x: 3 * torch.tanh(x / 3))]
    elif mode == "pet":
        steps = [Lambdad("image", lambda x: torch.sigmoid((x - x.min()) / x.std()))]
    oriented = Orientationd("image", axcodes="RAS")
    cropped = CropForegroundd("image", source_key="raw", margin=10, allow_smaller=True)
    steps += [cropped, oriented]
    if spacing is not None:
        pixdim = np.array(spacing)
        limits = {"min_pixdim": pixdim * 0.75, "max_pixdim": pixdim * 1.25}
        steps.append(Spacingd(["image"], pixdim=spacing, mode=["bilinear"], dtype=torch.float, **limits))
    return Compose(steps)({"image": tensor, "raw": tensor.clone()})["image"]


@pytest.mark.quick(spacing="spacing1")
@pytest.mark.parametrize("mode", ["range", "meanstd", "meanstdtanh", "pet", "none"])
@pytest.mark.parametrize("spacing", [None, [2.0, 2.0, 3.0]])
def test_the_network_sees_what_the_extension_shows_it(tmp_path, mode, spacing):
    folder = write_auto3dseg_folder(tmp_path / "m", normalize_mode=mode, resample_resolution=spacing)
    model = load_base_model(folder, "Liver", "cpu")

    found = model.prepare(an_image()).network_input

    expected = by_the_script(an_image(), mode, (-150, 250), spacing).as_tensor().float()
    assert found.shape == expected.shape
    assert found.shape[1:] != SHAPE[::-1]  # the foreground was cut out
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_prediction_is_that_of_the_extensions_windows(tmp_path):
    folder = write_auto3dseg_folder(tmp_path / "m", resample_resolution=None)
    model = load_base_model(folder, "Spleen", "cpu")

    found = model.predict(model.prepare(an_image()))

    content = torch.load(folder / "model.pt", weights_only=False)
    network = SegResNetDS(**{key: value for key, value in NETWORK.items() if key != "_target_"}).eval()
    network.load_state_dict(content["state_dict"])
    image = by_the_script(an_image(), "range", (-150, 250))
    windows = SlidingWindowInfererAdapt([16, 16, 16], sw_batch_size=1, overlap=0.625, mode="gaussian")
    with torch.no_grad():
        labels = windows(image.as_tensor()[None].float(), network).argmax(1)[0]
    on_image = np.zeros(SHAPE, bool)  # in RAS: i and j run the other way, and the foreground is cut out
    k, j, i = (slice(max(0, first - 10), n) for first, n in zip((11, 12, 13), SHAPE, strict=True))
    on_image[k, j, i] = (labels == 2).numpy().transpose(2, 1, 0)[:, ::-1, ::-1]
    assert found.any()
    assert np.array_equal(found, on_image)


def test_an_edit_changes_its_neighbours(tmp_path):
    model = load_base_model(write_auto3dseg_folder(tmp_path / "m"), "Liver", "cpu")
    session = Session(model, SessionSettings())
    mask = np.zeros(SHAPE, bool)
    mask[13:18, 15:22, 16:25] = True
    session.set_image(an_image(), mask)

    from context_propagation.core.image.slices import SliceEdit

    drawn = np.roll(mask[15], 3, axis=1)
    result = session.propagate([SliceEdit(0, 15, drawn)])

    assert np.array_equal(result.segmentation[15], drawn)
    assert result.updates


def test_the_list_says_what_the_folder_holds_and_a_copy_has_the_same_hash(tmp_path):
    folder = write_auto3dseg_folder(tmp_path / "m")

    described = describe_model(folder)
    copy_base_model(folder, tmp_path / "copy", ["all"])

    assert (described.kind, described.architecture) == ("MONAI Auto3DSeg", "SegResNetDS")
    assert (described.channels, described.labels) == (("CT",), ("Liver", "Spleen"))
    hashes = {load_base_model(one, "Liver", "cpu").content_hash for one in (folder, tmp_path / "copy")}
    assert len(hashes) == 1


def test_two_modalities_are_normalised_each_in_its_way(tmp_path):
    folder = write_auto3dseg_folder(
        tmp_path / "m", network={"in_channels": 2}, extra_modalities={"pet": "pet"}, resample_resolution=None
    )
    model = load_base_model(folder, 1, "cpu")

    images = an_image(channels=2).channels

    found = model.prepare(an_image(channels=2)).network_input

    assert model.channel_names == ["CT", "pet"]
    affine = torch.from_numpy(np.diag([-1.0, -1.0, 1.0, 1.0]) @ an_image().ijk_to_lps)
    ct, pet = (MetaTensor(torch.from_numpy(c.transpose(2, 1, 0).copy())[None], affine=affine) for c in images)
    script = [
        ScaleIntensityRanged("image1", -150, 250, -1, 1, clip=False),
        Lambdad("image1", torch.sigmoid),
        Lambdad("image2", lambda x: torch.sigmoid((x - x.min()) / x.std())),
        ConcatItemsd(["image1", "image2"], "image"),
        Orientationd("image", axcodes="RAS"),
        CropForegroundd("image", source_key="image1", margin=10, allow_smaller=True),
    ]
    expected = Compose(script)({"image1": ct, "image2": pet})["image"].as_tensor()
    assert found.shape[1:] == SHAPE[::-1]  # all of the first image is above 0 after its sigmoid
    assert torch.allclose(found, expected, atol=1e-5)


def test_code_in_the_checkpoint_is_neither_run_nor_listed(tmp_path):
    folder = write_auto3dseg_folder(tmp_path / "m")

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    changed(folder, lambda content: content["config"].update(evil=Evil()))

    assert describe_model(folder).channels == ("CT",)
    with pytest.raises(UserInputError, match=r"holds code, not only weights \(.*mkdir\); nothing was run"):
        load_base_model(folder, "Liver", "cpu")
    assert not (tmp_path / "run").exists()


def changed(folder, change) -> None:
    content = torch.load(folder / "model.pt", weights_only=False)
    change(content)
    torch.save(content, folder / "model.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": {"_target_": "DynUNet"}},
            "describes the network 'DynUNet'; of Auto3DSeg only SegResNetDS is known",
        ),
        ({"network": {"act": "@act"}}, "arguments act are not known or are expressions"),
        ({"network": {"spatial_dims": 2}}, "network of spatial_dims 2"),
        ({"network": {"in_channels": None}}, "in_channels of the network is None, no whole number above 0"),
        ({"network": {"out_channels": [2]}}, r"out_channels of the network is \[2\], no whole number above 0"),
        ({"sigmoid": "false"}, "'sigmoid' is 'false', neither true nor false"),
        ({"intensity_bounds": torch.tensor([-1.0, 1.0])}, "'intensity_bounds' of its configuration is no plain value"),
        ({"crop_foreground": torch.ones(2)}, "'crop_foreground' of its configuration is no plain value"),
        ({"extra_modalities": {1: "ct"}}, "'extra_modalities' of its configuration is no plain value"),
        ({"labels": LABELS + "1,Liver again\n"}, "does not name each label once"),
        ({"normalize_mode": "zscore"}, "normalizes 1 channels by zscore; known are none, range"),
        ({"intensity_bounds": [250, -150]}, r"intensity_bounds \[250, -150\], not two numbers that rise"),
        ({"roi_size": [16, 16]}, r"roi_size \[16, 16\], not three numbers above 0"),
        ({"resample_resolution": [1.0, float("nan"), 1.0]}, "resample_resolution .*, not three numbers above 0"),
        ({"labels": LABELS.replace("2,Spleen", "3,Spleen")}, r"has 2 labels and labels\.csv names 1, 3; correct it"),
        ({"labels": "Value,Name\n1,Liver\n"}, "is no table with LabelValue and Name"),
        ({"normalize_mode": None}, "normalizes 1 channels by None; known are none, range"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, changes, message):
    described = changes.get("network", {})
    folder = write_auto3dseg_folder(tmp_path / "m", **{**changes, "network": {}})
    changed(folder, lambda content: content["config"]["network"].update(described))
    with pytest.raises(UserInputError, match=message):
        load_base_model(folder, "Liver", "cpu")


def test_damaged_and_unsound_weights_are_refused(tmp_path):
    folder = write_auto3dseg_folder(tmp_path / "m")
    changed(folder, lambda content: next(iter(content["state_dict"].values())).fill_(np.nan))
    with pytest.raises(UserInputError, match="holds NaN or infinite weights"):
        load_base_model(folder, "Liver", "cpu")
    content = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserInputError, match="truncated or damaged"):
        load_base_model(folder, "Liver", "cpu")
    with pytest.raises(UserInputError, match="is no checkpoint of Auto3DSeg with its configuration"):
        describe_model(folder)
