"""A PSNN on disk: written, read back, and everything foreign or damaged refused by name."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.model.psnn_folder import (
    PsnnDescription,
    copy_psnn_folder,
    is_psnn_folder,
    load_psnn_folder,
    read_psnn_description,
    save_psnn_folder,
)
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.psnn import PsnnSettings
from context_propagation.core.network.psnn_split import ChainSplit, PsnnSplit
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings

CT = ChannelNormalisation("CT", "clip and scale", -160.0, 240.0, 40.0, 25.0)
PET = ChannelNormalisation("PET")


def describe(chain=True, classes=2, **changes):
    usual = {
        "chain": chain,
        "architecture": PsnnSettings(2, classes, (3, 4, 5), ((1, 2, 2), (2, 2, 2))),
        "preprocessing": Preprocessing((3.0, 1.5, 1.5), (CT, PET)),
        "patch_size": (8, 16, 16),
        "labels": ("GTV", "node")[: classes - 1],
        "provenance": {"cases": 7},
    }
    return PsnnDescription(**{**usual, **changes})


def write(folder, description=None, folds=("all",)):
    description = description or describe()
    torch.manual_seed(0)
    save_psnn_folder(folder, description, {fold: description.build() for fold in folds})
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model")


def edit(folder, *keys, value):
    content = json.loads((folder / "psnn.json").read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / "psnn.json").write_text(json.dumps(content))


@pytest.mark.parametrize("chain", [True, False])
def test_a_folder_comes_back_as_it_was_written(tmp_path, chain):
    description = describe(chain, classes=3, orientation="LPS")
    network = description.build().eval()
    save_psnn_folder(tmp_path / "model", description, {"0": network})
    assert read_psnn_description(tmp_path / "model") == description
    model = load_psnn_folder(tmp_path / "model", "node", "cpu")
    (split,) = model.splits
    assert type(split) is (ChainSplit if chain else PsnnSplit)
    x = torch.randn(1, 2, 8, 16, 16)
    with torch.no_grad(), DirectConvolution():
        assert torch.equal(split.encode(x, 1).logits, network(x))
    assert (model.target_name, model.target.channel, model.orientation) == ("node", 2, "LPS")
    assert (model.loss, model.folds, model.patch_size, model.total_stride) == ("dice", ("0",), (8, 16, 16), (2, 4, 4))
    assert model.channel_names == ["CT", "PET"]
    assert not any(p.requires_grad for p in split.network.parameters())


def test_the_hash_depends_on_weights_and_on_what_is_read_and_not_on_the_provenance(folder, tmp_path):
    before = load_psnn_folder(folder, device="cpu").content_hash
    edit(folder, "provenance", value={"made": "elsewhere"})
    assert load_psnn_folder(folder, device="cpu").content_hash == before
    edit(folder, "spacing_mm", value=[3.0, 1.5, 1.6])
    other = load_psnn_folder(folder, device="cpu").content_hash
    weights = load_file(folder / "fold_all.safetensors")
    weights["ct.collapses.0.bias"][0] += 1
    save_file(weights, folder / "fold_all.safetensors")
    assert len({before, other, load_psnn_folder(folder, device="cpu").content_hash}) == 3


def test_folds_are_read_in_order_and_can_be_chosen(tmp_path):
    folder = write(tmp_path / "model", folds=("10", "2", "0"))
    assert load_psnn_folder(folder, device="cpu").folds == ("0", "2", "10")
    assert load_psnn_folder(folder, device="cpu", folds=["fold_2", 0]).folds == ("2", "0")
    for folds, message in ((["1"], "no fold '1'; it has 0, 2, 10"), ([2, "2"], "name each fold once"), ([], "none")):
        with pytest.raises(UserInputError, match=message):
            load_psnn_folder(folder, device="cpu", folds=folds)


def test_a_copy_for_a_bundle_has_the_hash_of_the_folds_it_holds_and_no_other_file(tmp_path):
    folder = write(tmp_path / "model", folds=("0", "1", "2"))
    (folder / "training.csv").write_text("left out")
    copy_psnn_folder(folder, tmp_path / "copy", ["2", "0"])
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"psnn.json", "fold_0.safetensors", "fold_2.safetensors"}
    original = load_psnn_folder(folder, device="cpu", folds=["0", "2"])
    assert load_psnn_folder(tmp_path / "copy", device="cpu").content_hash == original.content_hash


def test_an_orientation_can_be_given_where_the_folder_has_none(folder):
    assert load_psnn_folder(folder, device="cpu").orientation is None
    assert load_psnn_folder(folder, device="cpu", orientation="RAS").orientation == "RAS"


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["format"], "context-propagation psnn 2", "format .* update this program"),
        (["surprise"], 1, "unknown entry 'surprise'"),
        (["architecture", "kind"], "unet", "'architecture.kind' is 'unet', not one of psnn, chain"),
        (["architecture", "classes"], 1, "whole number from 2 to 64"),
        (["architecture", "classes"], 3, "1 label.* for 3 classes"),
        (["architecture", "channels"], [3, 4], "2 poolings for 2 stages"),
        (["architecture", "channels"], [3, True, 5], "list of whole numbers"),
        (["architecture", "channels"], [3, 4, 10**9], "list of whole numbers"),
        (["architecture", "poolings"], [[1, 2, 2], [2, 2]], "list of three factors"),
        (["architecture", "poolings"], [[1, 2, 2], [2, 3, 2]], "each 1, 2 or 4"),
        (["architecture", "hook"], "os.system", "unknown entry 'architecture.hook'"),
        (["channels"], [{"name": "CT", "normalisation": "none"}], "1 image channel.* that reads 2"),
        (["channels", 0, "normalisation"], "eval", "not one of none, z-score, clip and scale"),
        (["channels", 0, "std"], 0, "deviation above 0"),
        (["channels", 0, "low"], "low", "'channels.0..low' is 'low', not a number"),
        (["channels", 1, "low"], 3.0, r"unknown entry 'channels\[1\].low'"),
        (["spacing_mm"], [1.0, 0, 1.0], "three numbers above 0"),
        (["spacing_mm"], None, "'spacing_mm' is None, not a list"),
        (["patch_size"], [8, 16.5, 16], "three whole numbers"),
        (["patch_size"], [7, 16, 16], "not a multiple of"),
        (["labels"], ["background"], "without the background"),
        (["labels"], [], "without the background"),
        (["orientation"], "LPX", "three letters such as LPS, or null"),
        (["provenance"], "here", "not an object"),
    ],
)
def test_a_foreign_entry_is_refused_by_name(folder, keys, value, message):
    edit(folder, *keys, value=value)
    with pytest.raises(UserInputError, match=message) as refusal:
        load_psnn_folder(folder, device="cpu")
    assert "psnn.json" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["{", "[1]", '{"format": NaN}', "\x00", "{}"])
def test_a_damaged_description_is_refused(folder, text):
    (folder / "psnn.json").write_text(text)
    with pytest.raises(UserInputError, match="psnn.json"):
        load_psnn_folder(folder, device="cpu")
    assert not is_psnn_folder(folder)


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(UserInputError, match="psnn.json' is missing"):
        load_psnn_folder(tmp_path, device="cpu")
    (folder / "fold_all.safetensors").unlink()
    with pytest.raises(UserInputError, match=r"holds no fold_\*.safetensors"):
        load_psnn_folder(folder, device="cpu")


class Shout:
    """What a pickle could run."""

    def __reduce__(self):
        return print, ("a pickle ran",)


@pytest.mark.parametrize("damage", ["pickle", "checkpoint", "truncated", "empty"])
def test_weights_that_are_no_safetensors_are_refused_and_run_nothing(folder, damage, capsys):
    file = folder / "fold_all.safetensors"
    if damage == "pickle":
        file.write_bytes(pickle.dumps(Shout()))
    elif damage == "checkpoint":
        torch.save({"weights": Shout()}, file)
    else:
        file.write_bytes(file.read_bytes()[: 2000 if damage == "truncated" else 0])
    with pytest.raises(UserInputError, match="fold_all.safetensors' is truncated or damaged"):
        load_psnn_folder(folder, device="cpu")
    assert capsys.readouterr().out == ""


def change_lost(weights):
    del weights["late.stages.1.0.weight"]


def change_added(weights):
    weights["late.extra"] = torch.zeros(1)


def change_shape(weights):
    weights["late.collapses.0.bias"] = torch.zeros(3)


def change_type(weights):
    weights["late.collapses.0.bias"] = torch.zeros(2, dtype=torch.float64)


def change_nan(weights):
    weights["late.collapses.0.bias"][1] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_lost, "lacks the tensor 'late.stages.1.0.weight'"),
        (change_added, "has the tensor 'late.extra'"),
        (change_shape, "is F32 3, not F32 2"),
        (change_type, "is F64 2, not F32 2"),
        (change_nan, "NaN or infinite"),
    ],
)
def test_other_tensors_are_refused_by_name(folder, change, message):
    weights = load_file(folder / "fold_all.safetensors")
    change(weights)
    save_file(weights, folder / "fold_all.safetensors")
    with pytest.raises(UserInputError, match=message):
        load_psnn_folder(folder, device="cpu")


def test_the_weights_of_one_network_are_not_those_of_a_chain(folder, tmp_path):
    single = write(tmp_path / "single", describe(chain=False))
    shutil.copyfile(single / "fold_all.safetensors", folder / "fold_all.safetensors")
    with pytest.raises(UserInputError, match="lacks the tensor 'ct"):
        load_psnn_folder(folder, device="cpu")


def test_a_fold_s_name_and_the_provenance_are_checked_before_anything_is_written(tmp_path):
    description = describe()
    for fold in ("../all", "01", ""):
        with pytest.raises(UserInputError, match="is not the name of a fold; choose all, or a number"):
            save_psnn_folder(tmp_path / "model", description, {fold: description.build()})
    with pytest.raises(UserInputError, match="cannot be kept as JSON"):
        save_psnn_folder(tmp_path / "model", describe(provenance={"x": float("nan")}), {"all": description.build()})
    assert not (tmp_path / "model").exists()


# ---- through a session


def ct_and_pet():
    """A ball, brighter in both channels, on an anisotropic and rotated grid."""
    k, j, i = np.ogrid[:12, :40, :36]
    ball = (k - 6) ** 2 / 9 + (j - 20) ** 2 / 49 + (i - 17) ** 2 / 49 < 1
    noise = np.random.default_rng(0).normal(size=(2, 12, 40, 36))
    channels = np.stack([40 + 60 * ball + 10 * noise[0], 1 + 5 * ball + 0.3 * noise[1]]).astype(np.float32)
    c, s = np.cos(0.3), np.sin(0.3)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * (1.25, 1.25, 4.0)
    matrix[:3, 3] = (12, -40, 7)
    return SourceVolume(channels, matrix), ball


@pytest.mark.quick(level=2)
@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_chain_takes_an_edit_on_ct_and_pet_and_keeps_the_drawing_exactly(folder, level):
    """Untrained: the collapse is set to call bright features the target, so that there is something to correct."""
    weights = load_file(folder / "fold_all.safetensors")
    for number in range(3):
        weights[f"late.collapses.{number}.weight"] *= 3
    save_file(weights, folder / "fold_all.safetensors")
    model = load_psnn_folder(folder, device="cpu")
    volume, ball = ct_and_pet()
    session = Session(model, SessionSettings(level=level))
    session.set_image(volume, initial=ball)
    before = session.segmentation.copy()
    drawn = np.roll(ball[6], 3, axis=1)
    result = session.propagate([SliceEdit(0, 6, drawn)])
    assert (result.segmentation[6] == drawn).all()
    (report,) = result.updates
    assert report.loss_after < report.loss_before
    far = [k for k in range(12) if abs(k - 6) > 2]
    assert (result.segmentation[far] == before[far]).all()


def test_one_channel_is_refused_where_the_chain_reads_two(folder):
    volume, ball = ct_and_pet()
    session = Session(load_psnn_folder(folder, device="cpu"))
    with pytest.raises(UserInputError, match=r"1 channel\(s\) and the model expects 2"):
        session.set_image(SourceVolume(volume.channels[:1], volume.ijk_to_lps), initial=ball)
