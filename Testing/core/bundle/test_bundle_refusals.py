"""A bundle that is not whole, unchanged and safe, or is asked for what it has not, is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bundle_checks import THREE, refusal
from context_propagation.core.bundle.bundle import load_bundle, load_model
from context_propagation.core.errors import UserInputError
from nnunet_folders import edit_checkpoint, edit_json, write_nnunet_folder

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- the folder


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    assert "does not exist; check the path" in refusal(tmp_path / "nowhere")


def test_a_trained_model_folder_is_no_bundle(base):
    with pytest.raises(UserInputError, match=r"bundle.json' is missing; give a bundle's folder, or copy"):
        load_bundle(base, device="cpu")


@pytest.mark.parametrize(
    "name", ["bundle.json", "fusion_0.safetensors", "model", "model/plans.json", "model/dataset.json"]
)
def test_a_missing_file_is_named(bundle, name):
    path = bundle / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert f"'{path}' is missing" in refusal(bundle)


def test_a_missing_checkpoint_is_named_with_the_bundle(bundle_of_two_folds):
    bundle = bundle_of_two_folds
    (bundle / "model" / "fold_1" / "checkpoint_final.pth").unlink()
    message = refusal(bundle)
    assert f"The base model of bundle '{bundle}' cannot be used: Fold '1' has no checkpoint_final.pth" in message


@pytest.mark.parametrize("name", ["fusion_0.safetensors", "model"])
def test_a_link_out_of_the_bundle_is_refused(bundle, tmp_path, name):
    (bundle / name).rename(tmp_path / "outside")
    (bundle / name).symlink_to(tmp_path / "outside")
    assert "put a copy in its place" in refusal(bundle)


# ---- the base model


def test_a_base_model_with_other_weights_is_refused(bundle, tmp_path):
    other = write_nnunet_folder(tmp_path / "other", folds=(0, 1), labels=THREE, seed=7)
    shutil.rmtree(bundle / "model")
    other.rename(bundle / "model")
    message = refusal(bundle)
    assert f"The base model '{bundle / 'model'}' has SHA-256" in message
    assert "put back the model that it was made for" in message


def test_a_base_model_with_other_plans_is_refused(bundle):
    edit_json(bundle / "model" / "plans.json", "configurations", "3d_fullres", "spacing", value=[2.0, 1.0, 1.0])
    assert "put back the model that it was made for" in refusal(bundle)


def test_swapped_folds_are_refused(bundle_of_two_folds):
    bundle = bundle_of_two_folds
    edit_json(bundle / "bundle.json", "folds", value=["0", "1"])
    assert "put back the model that it was made for" in refusal(bundle)


def test_a_reference_to_another_model_is_refused(bundle, tmp_path):
    other = write_nnunet_folder(tmp_path / "other", folds=(0, 1), labels=THREE, seed=7)
    sha256 = json.loads((bundle / "bundle.json").read_text())["base"]["sha256"]
    edit_json(bundle / "bundle.json", "base", value={"reference": str(other), "sha256": sha256})
    assert f"The base model '{other}' has SHA-256" in refusal(bundle)


def test_a_reference_that_does_not_exist_is_refused(bundle, tmp_path):
    nowhere = tmp_path / "nowhere"
    edit_json(bundle / "bundle.json", "base", value={"reference": str(nowhere), "sha256": "0" * 64})
    message = refusal(bundle)
    assert f"refers to the base model '{nowhere}', which does not exist; put the model there" in message


@pytest.mark.parametrize(
    "reference", [r"\\host\share\model", "//host/share/model", r"\\?\UNC\host\share", r"/\host\share"]
)
def test_a_reference_to_another_computer_is_refused_before_it_is_looked_at(bundle, monkeypatch, reference):
    edit_json(bundle / "bundle.json", "base", value={"reference": reference, "sha256": "0" * 64})
    looked_at = []
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: looked_at.append(str(path)) or is_dir(path))

    message = refusal(bundle)

    assert f"refers to the base model on the network, {reference!r}; copy the model to this computer" in message
    assert not [path for path in looked_at if "host" in path]


def test_code_in_the_bundled_checkpoint_does_not_run(bundle, tmp_path):
    checkpoint = bundle / "model" / "fold_0" / "checkpoint_final.pth"
    edit_checkpoint(checkpoint, extra=Payload(tmp_path / "it-ran"))
    assert "holds code" in refusal(bundle)
    assert not (tmp_path / "it-ran").exists()


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (eval, (f"open({str(self.path)!r}, 'w').close()",))


def test_a_label_that_is_not_the_bundle_s_is_refused(made):
    message = refusal(made, label="node")
    assert f"Bundle '{made}' refines the label 'GTV', not 'node'; leave the label out" in message


@pytest.mark.parametrize(
    ("label", "expected"),
    [("spleen", "The model has no label 'spleen'; it has GTV (1)"), ("1", "write the label's name")],
)
def test_a_bundle_whose_label_its_model_lacks_is_refused(bundle, label, expected):
    edit_json(bundle / "bundle.json", "label", value=label)
    assert expected in refusal(bundle)


def test_an_unknown_device_is_refused(made):
    with pytest.raises(UserInputError, match="Unknown device 'tpu'"):
        load_model(made, device="tpu")


# ---- the fusion weights


def rewrite_tensors(file: Path, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.pop("join.weight"), "lacks the tensor 'join.weight'"),
        (lambda t: t.update(extra=torch.zeros(2)), "has the tensor 'extra', which its network lacks"),
        (
            lambda t: t.update({"join.bias": torch.zeros(5)}),
            "Tensor 'join.bias' in '{file}' is F32 5, not F32 4; copy the bundle again",
        ),
        (lambda t: t.update({"join.bias": t["join.bias"].half()}), "is F16 4, not F32 4"),
        (lambda t: t["join.bias"].fill_(float("nan")), "'join.bias' in '{file}' holds NaN or infinite weights"),
        (lambda t: t["join.weight"].view(-1)[3:4].fill_(-float("inf")), "'join.weight' in '{file}' holds NaN"),
        (lambda t: t["join.bias"].add_(1e-3), "The fusion weights and settings in '{bundle}' have SHA-256"),
    ],
)
def test_fusion_weights_that_are_not_the_bundle_s_are_refused(bundle, change, expected):
    file = bundle / "fusion_0.safetensors"
    rewrite_tensors(file, change)
    assert expected.format(file=file, bundle=bundle) in refusal(bundle)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_weights_file_is_refused(bundle, share):
    file = bundle / "fusion_0.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert f"'{file}' is truncated or damaged" in refusal(bundle)


def test_pickled_weights_are_not_read(bundle, tmp_path):
    file = bundle / "fusion_0.safetensors"
    torch.save({"join.bias": Payload(tmp_path / "it-ran")}, file)
    assert f"'{file}' is truncated or damaged" in refusal(bundle)
    assert not (tmp_path / "it-ran").exists()


def test_settings_that_were_changed_are_refused(bundle):
    edit_json(bundle / "bundle.json", "far_thresholds", value={"add": 0.5, "remove": 0.5})
    assert "The fusion weights and settings" in refusal(bundle)


def test_an_enormous_network_is_refused_before_it_takes_memory(bundle):
    entries = json.loads((bundle / "bundle.json").read_text())["fusion"]
    entries[0]["settings"] = {"variant": "adaptive", "channels": 4096, "width": 64.0}
    edit_json(bundle / "bundle.json", "fusion", value=entries)
    assert "not F32 262144 x 8196 x 3 x 3 x 3" in refusal(bundle)
