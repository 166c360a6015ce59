"""MONAI Auto3DSeg models of regions that overlap, and of the whole head: what the extension's script makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("monai")
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInfererAdapt
from monai.networks.nets import SegResNetDS
from monai.transforms import (
    Compose,
    CropForegroundd,
    Invertd,
    KeepLargestConnectedComponentd,
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)

from auto3dseg_folders import LABELS, write_auto3dseg_folder
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.auto3dseg_files import kind_in_extension
from context_propagation.core.model.auto3dseg_regions import read_regions
from context_propagation.core.model.model_kinds import copy_base_model, load_base_model
from context_propagation.core.model.model_listing import describe_model
from context_propagation.core.model.target import Target
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.files.labelmap_files import labels_with

SHAPE = (14, 26, 30)
TUMOUR = "LabelValue,Name\n1,Necrosis\n2,Edema\n3,Enhancing\n"
BRATS = {"sigmoid": True, "modality": "mri", "normalize_mode": "meanstd", "labels": TUMOUR, "class_names": None}
FOUR = {"in_channels": 4, "out_channels": 3}
NAMED = {"class_names": ["wt", "tc", "et"], "class_index": [[1, 2, 3], [1, 3], [3]]}


def a_brats_folder(path, **changes):
    return write_auto3dseg_folder(path / "brats-gli-v1.0.0", network=FOUR, **{**BRATS, **changes})


def a_flipped_image(channels=4) -> SourceVolume:
    """Anisotropic, its axes mirrored and exchanged; the first channel shows least of the brain."""
    rng = np.random.default_rng(1)
    voxels = np.zeros((channels, *SHAPE), np.float32)
    for n, channel in enumerate(voxels):
        channel[2:, 16 - n :, 14:] = rng.normal(300, 100, (12, 10 + n, 16)).clip(1)
    matrix = np.array([[0, -1.2, 0, 5], [1.5, 0, 0, -9], [0, 0, -2.5, 3], [0, 0, 0, 1.0]])
    return SourceVolume(voxels, matrix)


def as_monai_loads(volume) -> MetaTensor:
    affine = torch.from_numpy(np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_lps)
    return MetaTensor(torch.from_numpy(volume.channels.transpose(0, 3, 2, 1).copy()), affine=affine)


def brats_steps(mode="meanstd", spacing=None) -> Compose:
    """The script's branch for BraTS: all images are one, normalised after it was cut out and resampled."""
    steps = [
        Orientationd("image", axcodes="RAS"),
        CropForegroundd("image", source_key="image", margin=10, allow_smaller=True),
    ]
    if spacing is not None:
        pixdim = np.array(spacing)
        limits = {"min_pixdim": pixdim * 0.75, "max_pixdim": pixdim * 1.25}
        steps.append(Spacingd(["image"], pixdim=spacing, mode=["bilinear"], dtype=torch.float, **limits))
    if mode == "meanstd":
        steps.append(NormalizeIntensityd("image", nonzero=True, channel_wise=True))
    elif mode == "pet":
        steps.append(Lambdad("image", lambda x: torch.sigmoid((x - x.min()) / x.std())))
    return Compose(steps)


def logits_of(folder, image):
    """The network's logits `[1, C, W, H, D]`, by MONAI's windows."""
    content = torch.load(folder / "model.pt", weights_only=False)
    described = {key: value for key, value in content["config"]["network"].items() if key != "_target_"}
    network = SegResNetDS(**described).eval()
    network.load_state_dict(content["state_dict"])
    windows = SlidingWindowInfererAdapt([16, 16, 16], sw_batch_size=1, overlap=0.625, mode="gaussian")
    with torch.no_grad():
        return windows(image.as_tensor()[None].float(), network)


def inverted(pred, image, steps, *after):
    """A prediction on the image's own voxels, `[C, K, J, I]`."""
    invert = Invertd("pred", orig_keys="image", transform=steps, nearest_interp=True)
    data = {"image": image, "pred": MetaTensor(pred, affine=image.affine)}
    return Compose([invert, *after])(data)["pred"].numpy().transpose(0, 3, 2, 1)


@pytest.mark.quick(spacing="spacing1", mode="meanstd")
@pytest.mark.parametrize("mode", ["meanstd", "pet", "none"])
@pytest.mark.parametrize("spacing", [None, [2.0, 2.0, 3.5]])
def test_the_network_sees_four_images_as_channels_of_one(tmp_path, mode, spacing):
    folder = a_brats_folder(tmp_path, normalize_mode=mode, resample_resolution=spacing)
    model = load_base_model(folder, "Enhancing", "cpu")

    found = model.prepare(a_flipped_image()).network_input

    expected = brats_steps(mode, spacing)({"image": as_monai_loads(a_flipped_image())})["image"].as_tensor()
    assert model.channel_names == ["T2F", "T1C", "T1N", "T2W"]  # the extension's inputs
    assert found.shape == expected.shape
    assert sorted(found.shape[1:]) != sorted(SHAPE)  # the foreground was cut out
    assert torch.allclose(found, expected, atol=1e-4)


def test_channels_that_the_configuration_does_not_tell_apart_are_one_image_whatever_the_name(tmp_path):
    changes = BRATS | NAMED | {"resample_resolution": [2.0, 2.0, 3.5]}
    folders = [
        write_auto3dseg_folder(tmp_path / "m", network=FOUR, **changes),
        a_brats_folder(tmp_path, **changes, extra_modalities={"t1": "pet", "t2": "pet", "t3": "none"}),
    ]

    found = [load_base_model(one, "et", "cpu").prepare(a_flipped_image()).network_input for one in folders]

    expected = brats_steps("meanstd", [2.0, 2.0, 3.5])({"image": as_monai_loads(a_flipped_image())})["image"]
    assert all(torch.allclose(one, expected.as_tensor(), atol=1e-4) for one in found)


def test_each_region_is_predicted_as_by_the_extension_whose_labelmap_is_read_rightly(tmp_path):
    folder, steps = a_brats_folder(tmp_path, resample_resolution=None), brats_steps()
    image = steps({"image": as_monai_loads(a_flipped_image())})["image"]
    channels = inverted((torch.sigmoid(logits_of(folder, image)) >= 0.5)[0], image, steps).astype(bool)
    labelmap = 2 * channels.any(0).astype(np.uint8)  # as the script writes them
    labelmap[channels[1:].any(0)] = 1
    labelmap[channels[2:].any(0)] = 3

    for number, name in enumerate(("Necrosis + Edema + Enhancing", "Necrosis + Enhancing", "Enhancing")):
        model = load_base_model(folder, name, "cpu")
        found = model.predict(model.prepare(a_flipped_image()))

        assert 100 < found.sum() < found.size
        assert np.array_equal(found, channels[number])
        assert np.array_equal(np.isin(labelmap, model.target.label), channels[number:].any(0))
        assert not model.target.trained


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        (
            NAMED,
            [Target("wt", 0, (2, 1, 3)), Target("tc", 1, (1, 3), outer=(2,)), Target("et", 2, (3,), outer=(1, 2))],
        ),
        (
            {"class_names": ["kidney", "mass", "tumour"], "class_index": [[1, 2, 3], [2, 3], [2]]},  # KiTS 2023
            [
                Target("kidney", 0, (1, 2, 3)),
                Target("mass", 1, (3, 2), outer=(1,)),
                Target("tumour", 2, (2,), outer=(3, 1)),
            ],
        ),
        (
            {"class_names": ["core", "all", "edge"], "class_index": [[5], [5, 7, 9, 4], [9, 7]]},  # in any order
            [
                Target("core", 0, (5,), outer=(4,)),
                Target("all", 1, (4, 5, 7, 9)),
                Target("edge", 2, (7, 9), outer=(4,)),
            ],
        ),
    ],
)
def test_regions_have_their_own_values_first_and_know_what_is_around_them(tmp_path, config, targets):
    found = read_regions(tmp_path, config, {}, 3, "")
    labels, outer = ([tell(n) for n in range(3)] for tell in (found.label, found.outer))
    assert found.names == tuple(target.name for target in targets)
    assert (labels, outer) == ([target.label for target in targets], [target.outer for target in targets])


def test_a_region_of_one_label_may_be_named_by_its_value(tmp_path):
    folder = write_auto3dseg_folder(tmp_path / "m", network={"out_channels": 3}, **{**BRATS, **NAMED})
    assert load_base_model(folder, 3, "cpu").target == Target("et", 2, (3,), outer=(1, 2))
    assert describe_model(folder).labels == ("wt", "tc", "et")
    with pytest.raises(UserInputError, match=r"no label '1'; it has wt \(\(1, 2, 3\)\), tc \(\(1, 3\)\), et \(3\)"):
        load_base_model(folder, 1, "cpu")


def test_old_brats_values_count_in_the_training_alone(tmp_path):
    folder = a_brats_folder(tmp_path, class_names=["wt", "tc", "et"], class_index=[[1, 2, 4], [1, 4], [4]])
    assert load_base_model(folder, "tc", "cpu").target == Target("tc", 1, (1, 3), (1, 4), (2,))


def test_brats_channels_in_another_order_are_what_the_configuration_says(tmp_path):
    config = {"class_names": ["tc", "wt", "et"], "class_index": [[1, 3], [1, 2, 3], [3]]}
    regions = read_regions(tmp_path, config, {}, 3, "brats")
    assert (regions.label(0), regions.outer(0)) == ((1, 3), (2,))


def test_one_region_made_of_two_labels_is_written_as_one(tmp_path):
    folder = write_auto3dseg_folder(
        tmp_path / "m", LABELS.replace("2,Spleen,SCT\n", ""), {"out_channels": 1}, sigmoid=True, class_index=[[1, 2]]
    )
    assert load_base_model(folder, None, "cpu").target == Target("Liver", 0, (1,), (1, 2))
    assert describe_model(folder).labels == ("Liver",)


def test_what_leaves_the_core_becomes_edema(tmp_path):
    regions = read_regions(tmp_path, NAMED, {}, 3, "brats")
    labels = np.array([[[0, 2, 1, 3, 2]]])
    core, drawn = np.array([[[0, 0, 1, 1, 0]]], bool), np.array([[[0, 0, 0, 1, 1]]], bool)
    assert labels_with(labels, core, drawn, regions.label(1)[0], regions.outer(1))[0].tolist() == [[[0, 2, 2, 3, 1]]]


def test_an_edit_of_a_region_changes_its_neighbours(tmp_path):
    model = load_base_model(a_brats_folder(tmp_path, **NAMED), "tc", "cpu")
    session, mask = Session(model, SessionSettings()), np.zeros(SHAPE, bool)
    mask[5:10, 16:22, 18:26] = True
    session.set_image(a_flipped_image(), mask)
    drawn = np.roll(mask[7], 3, axis=1)

    result = session.propagate([SliceEdit(0, 7, drawn)])

    assert np.array_equal(result.segmentation[7], drawn)
    assert result.updates


def test_of_the_whole_head_two_parts_of_a_label_are_kept(tmp_path):
    small = {"resample_resolution": None, "crop_foreground": False}
    folder = write_auto3dseg_folder(tmp_path / "whole-head-1mm-v1.0.1" / "model", **small)
    renamed = write_auto3dseg_folder(tmp_path / "m" / "head", **small)
    volume = a_flipped_image(channels=1)
    steps = Compose(
        [
            ScaleIntensityRanged("image", -150, 250, -1, 1, clip=False),
            Lambdad("image", torch.sigmoid),
            Orientationd("image", axcodes="RAS"),
        ]
    )
    image = steps({"image": as_monai_loads(volume)})["image"]
    pred = logits_of(folder, image).argmax(1).to(torch.uint8)
    expected = inverted(pred, image, steps, KeepLargestConnectedComponentd("pred", num_components=2))[0]

    kept, whole = (load_base_model(one, "Liver", "cpu") for one in (folder, renamed))
    found, all_parts = (model.predict(model.prepare(volume)) for model in (kept, whole))

    assert np.array_equal(found, expected == 1)
    assert 0 < found.sum() < all_parts.sum()
    assert kept.content_hash != whole.content_hash


def test_a_copy_is_of_the_same_kind_whatever_its_name(tmp_path):
    brats = a_brats_folder(tmp_path, **NAMED)
    plain = write_auto3dseg_folder(tmp_path / "liver")
    copies = [tmp_path / "bundle" / "base", tmp_path / "my-brats", tmp_path / "again"]

    copy_base_model(brats, copies[0], ["all"])
    copy_base_model(plain, copies[1], ["all"])
    copy_base_model(copies[1], copies[2], ["all"])

    assert [kind_in_extension(copy) for copy in copies] == ["brats", "", ""]
    assert len({load_base_model(one, "et", "cpu").content_hash for one in (brats, copies[0])}) == 1
    (copies[0] / "auto3dseg_kind.txt").write_text("whole-body")
    with pytest.raises(UserInputError, match="holds 'whole-body', not brats or whole-head or nothing"):
        load_base_model(copies[0], "et", "cpu")


def test_a_study_folder_around_a_model_says_nothing(tmp_path):
    assert kind_in_extension(tmp_path / "whole-head-study" / "liver") == ""
    assert kind_in_extension(tmp_path / "whole-head-05mm-v1.0.1" / "m") == "whole-head"
    assert kind_in_extension(tmp_path / "BraTS-GLI-v1.0.0") == "brats"


@pytest.mark.parametrize(
    ("changes", "label", "message"),
    [
        (
            {},
            "et",
            r"overlap \(sigmoid\) and no class_index, .* name back \(brats-\.\.\.\), else use the model as a MONAI",
        ),
        ({"class_index": [[1, 2], [2, 3], [4]]}, "a", r"regions a \(1, 2\) and b \(2, 3\) overlap, and neither lies"),
        ({"class_index": [[1, 2], [1, 2], [4]]}, "b", r"regions b \(1, 2\) and a \(1, 2\) overlap, and neither lies"),
        ({"class_index": [[1, 2], [1], [2]]}, "a", r"region a \(1, 2\) consists of smaller regions alone"),
        ({"class_index": [[1, 2], [1]]}, "a", r"class_index \[\[1, 2\], \[1\]\], not the labels of each of 3 regions"),
        ({"class_index": [[1, 2], [0], [1]]}, "a", "not the labels of each of 3 regions"),
        ({"class_index": "@index"}, "a", "class_index '@index', not the labels of each of 3 regions"),
        (NAMED | {"class_names": ["a", "a", "b"]}, "a", r"class_names \['a', 'a', 'b'\], not one for each region"),
        (
            {"class_index": [[1, 2, 4], [1, 4], [4]], "class_names": ["acc_0", "acc_1", "acc_2"]},
            "acc_0",
            r"no names for its regions, nor has labels\.csv for 4; add them",
        ),
        ({"network": {"out_channels": 1}}, None, r"has one region and labels\.csv names 1, 2, 3; name 1 alone there"),
    ],
)
def test_regions_that_cannot_be_written_or_named_are_refused(tmp_path, changes, label, message):
    given = {"sigmoid": True, "labels": TUMOUR, "class_names": ["a", "b", "c"], "network": {"out_channels": 3}}
    folder = write_auto3dseg_folder(tmp_path / "m", **{**given, **changes})
    with pytest.raises(UserInputError, match=message):
        load_base_model(folder, label, "cpu")


def test_a_region_beside_two_that_overlap_can_be_refined(tmp_path):
    config = {"class_names": ["a", "b", "c"], "class_index": [[1, 2], [2, 3], [4]]}
    assert read_regions(tmp_path, config, {}, 3, "").label(2) == (4,)
