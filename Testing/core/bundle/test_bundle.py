"""A bundle is complete or not there, loads as what was saved, and refuses a base model that is not its own."""

import json
import logging
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from safetensors.torch import load_file, save_file

from bundles import PROVENANCE, random_fusion, write_bundle
from context_propagation.core.bundle import bundle_saving
from context_propagation.core.bundle.bundle import load_bundle, load_model
from context_propagation.core.bundle.bundle_saving import check_bundle_destination, save_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.storage import whole_file
from nnunet_folders import edit_checkpoint, edit_json, write_nnunet_folder

THREE = {"background": 0, "GTV": 1, "node": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_nnunet_folder(tmp_path_factory.mktemp("base") / "model", folds=(0, 1), labels=THREE)


@pytest.fixture(scope="module")
def made(base, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", base, folds=[1, 0])


@pytest.fixture(scope="module")
def made_of_one_fold(base, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", base, folds=[0])


@pytest.fixture
def bundle(made_of_one_fold, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made_of_one_fold, tmp_path / "bundle")


@pytest.fixture
def bundle_of_two_folds(made, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "bundle")


def refusal(path: Path, **arguments) -> str:
    with pytest.raises(UserInputError) as caught:
        load_model(path, device="cpu", **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def inputs(channels: int = 8, hidden_truth: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    shapes = ((2, channels, 5, 4, 6), (2, channels, 5, 4, 6), (2, 2, 5, 4, 6), (2, 8 + hidden_truth), (2, 2, channels))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def an_image() -> SourceVolume:
    noise = np.random.default_rng(0).normal(size=(1, 16, 18, 20)).astype(np.float32)
    return SourceVolume(noise, np.eye(4))


def predicted(model: NnunetModel) -> np.ndarray:
    return model.predict(model.prepare(an_image()))


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- round trip


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


# ---- refusals: the folder


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


# ---- refusals: the base model


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


# ---- refusals: the fusion weights


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


# ---- saving what does not fit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"folds": [0], "channels": 4}, "is for 4 channels, and the base model has 8 at level 2"),
        ({"folds": [0], "level": 3}, "Decoder level 3 is beyond this network's decoder"),
        ({"folds": [0], "hidden_truth": 1}, "needs 1 number of the ground truth, which only an evaluation has"),
        ({}, "1 fusion network for 2 folds of the base model (0, 1); give one for each fold"),
        ({"folds": [5]}, "Fold '5' has no checkpoint_final.pth"),
        ({"folds": [0], "label": "spleen"}, "no label 'spleen'"),
        ({"folds": [0], "orientation": "LPX"}, "The orientation 'LPX' is not three letters such as LPS or RAS"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_leaves_nothing(tmp_path, base, options, expected):
    with pytest.raises(UserInputError) as caught:
        write_bundle(tmp_path / "b", base, **options)

    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_numbers_are_not_saved(tmp_path, base):
    fusion = random_fusion()
    fusion.networks[0].join.bias[0] = torch.nan

    with pytest.raises(UserInputError, match="NaN or infinite"):
        save_bundle(tmp_path / "b", base, fusion, PROVENANCE, label="GTV", folds=[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), np.float32(0.5)])
def test_provenance_that_json_cannot_hold_is_refused(tmp_path, base, value):
    with pytest.raises(UserInputError, match="The provenance cannot be kept as JSON"):
        save_bundle(tmp_path / "b", base, random_fusion(), {"value": value}, label="GTV", folds=[0])
    assert list(tmp_path.iterdir()) == []


# ---- the place where it is saved


@pytest.mark.parametrize("what", ["file", "empty folder", "folder", "trained model", "another tool's bundle"])
def test_what_is_no_bundle_is_not_replaced(tmp_path, base, what):
    path = tmp_path / "taken"
    if what == "file":
        path.write_text("mine")
    elif what == "trained model":
        shutil.copytree(base, path)
    else:
        path.mkdir()
        if what != "empty folder":
            (path / "bundle.json" if "bundle" in what else path / "mine.txt").write_text('{"format": "mine"}')
    before = everything_below(tmp_path)

    for attempt in (lambda: write_bundle(path, base, folds=[0]), lambda: check_bundle_destination(path)):
        with pytest.raises(UserInputError, match=r"taken' exists and is not a bundle; choose another name"):
            attempt()
    assert everything_below(tmp_path) == before


def test_a_bundle_with_a_file_of_somebody_s_is_not_replaced(bundle, base):
    (bundle / "notes.txt").write_text("mine")
    before = everything_below(bundle)
    with pytest.raises(UserInputError, match="holds 'notes.txt', which is not of the bundle; move it away first"):
        write_bundle(bundle, base, folds=[0])
    assert everything_below(bundle) == before


def test_a_folder_that_is_missing_is_named(tmp_path, base):
    with pytest.raises(UserInputError, match=r"nowhere' does not exist; create it"):
        write_bundle(tmp_path / "nowhere" / "b", base, folds=[0])


def test_a_bundle_is_replaced_by_the_next_one(bundle, base):
    write_bundle(bundle, base, folds=[1], seed=3)

    assert len(load_bundle(bundle, device="cpu")[1].networks) == 1
    assert not (bundle / "fusion_0.safetensors").exists()
    assert list(bundle.parent.iterdir()) == [bundle]


def test_the_training_s_logs_go_into_the_bundle_and_with_it(tmp_path, base):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "fusion_0.csv").write_text("epoch")
    save_bundle(tmp_path / "b", base, random_fusion(), PROVENANCE, label="GTV", folds=[0], training=tmp_path / "logs")
    assert [path.name for path in (tmp_path / "b" / "training").iterdir()] == ["fusion_0.csv"]
    load_bundle(tmp_path / "b", device="cpu")

    check_bundle_destination(tmp_path / "b")
    write_bundle(tmp_path / "b", base, folds=[0])
    assert not (tmp_path / "b" / "training").exists()


def test_logs_that_are_missing_leave_no_bundle(tmp_path, base):
    with pytest.raises(UserInputError, match="Cannot write bundle"):
        save_bundle(
            tmp_path / "b", base, random_fusion(), PROVENANCE, label="GTV", folds=[0], training=tmp_path / "gone"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_can_be_replaced_by_one_on_its_own_base_model(bundle):
    write_bundle(bundle, bundle / "model", folds=[0], seed=3)

    assert load_bundle(bundle, device="cpu")[1].content_hash == random_fusion(seed=3).content_hash


def test_a_bundle_that_would_refer_to_what_it_replaces_is_refused(bundle):
    before = everything_below(bundle)
    with pytest.raises(UserInputError, match="lies inside .*which is replaced; copy it into the bundle"):
        write_bundle(bundle, bundle / "model", folds=[0], copy_base=False)
    assert everything_below(bundle) == before


def test_remains_of_a_process_that_was_killed_do_no_harm(bundle, base):
    for prefix in (whole_file.PARTIAL, whole_file.REPLACED):
        (bundle.parent / f"{prefix}{bundle.name}" / "model").mkdir(parents=True)

    write_bundle(bundle, base, folds=[0])

    assert list(bundle.parent.iterdir()) == [bundle]


def test_the_hash_of_the_saved_networks_is_computed_anew(tmp_path, base):
    claimed = replace(random_fusion(), content_hash="0" * 64)
    save_bundle(tmp_path / "b", base, claimed, PROVENANCE, label="GTV", folds=[0])

    assert load_bundle(tmp_path / "b", device="cpu")[1].content_hash == random_fusion().content_hash


@contextmanager
def files_stay_below(size: int):
    """As on a full disk: the system refuses to write more. Around the save alone: pytest may write to a file, too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("copy_base", [True, False])
@pytest.mark.parametrize("size", [0, 4096])
def test_a_full_disk_leaves_nothing(tmp_path, base, size, copy_base):
    with pytest.raises(UserInputError) as caught, files_stay_below(size):
        write_bundle(tmp_path / "b", base, folds=[0], copy_base=copy_base)

    assert str(caught.value).startswith(f"Cannot write bundle '{tmp_path / 'b'}': ")
    assert str(caught.value).endswith("; choose another place")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.quick(reason=KeyboardInterrupt)
@pytest.mark.parametrize("step", ["copy_base_model", "write_network", "write_description", "_swap"])
@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_save_that_fails_at_any_step_leaves_the_older_bundle(bundle, base, monkeypatch, step, reason):
    before = everything_below(bundle.parent)

    def fail(*_, **__):
        raise reason

    monkeypatch.setattr(whole_file if step == "_swap" else bundle_saving, step, fail)
    expected = KeyboardInterrupt if reason is KeyboardInterrupt else UserInputError
    with pytest.raises(expected):
        write_bundle(bundle, base, folds=[0])

    assert everything_below(bundle.parent) == before


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_where_the_last_move_fails_the_older_bundle_is_put_back(bundle, base, monkeypatch, reason):
    before = everything_below(bundle.parent)
    rename = whole_file.os.rename

    def fail_for_the_new_one(source, destination):
        if whole_file.PARTIAL in str(source):
            raise reason
        rename(source, destination)

    monkeypatch.setattr(whole_file.os, "rename", fail_for_the_new_one)
    with pytest.raises((UserInputError, KeyboardInterrupt)):
        write_bundle(bundle, base, folds=[0])

    assert everything_below(bundle.parent) == before


def test_the_hash_in_the_description_is_the_one_that_is_reported(made):
    model, fusion = load_bundle(made, device="cpu")
    description = json.loads((made / "bundle.json").read_text())

    assert description["fusion_sha256"] == fusion.content_hash
    assert description["base"]["sha256"] == model.content_hash


@pytest.mark.quick(ending="partial")
@pytest.mark.parametrize("ending", ["partial", "replaced"])
def test_a_folder_beside_the_bundle_that_is_somebody_s_own_is_not_touched(base, tmp_path, ending):
    (tmp_path / f"bundle.{ending}").mkdir()
    (tmp_path / f"bundle.{ending}" / "thesis.txt").write_text("mine")

    write_bundle(tmp_path / "bundle", base, folds=[0])

    assert (tmp_path / f"bundle.{ending}" / "thesis.txt").read_text() == "mine"
    load_bundle(tmp_path / "bundle", device="cpu")
