"""What the model list shows, against what the loaders find."""

import json
import subprocess
import sys

import pytest

from bundles import write_bundle
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.model.model_kinds import load_base_model
from context_propagation.core.model.model_listing import describe_model
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.model.psnn_folder import PsnnDescription, save_psnn_folder
from context_propagation.core.network.psnn import PsnnSettings
from monai_bundles import write_monai_bundle
from nnunet_folders import write_nnunet_folder


def test_a_bundle_says_how_far_it_reaches_and_how_it_was_validated():
    described = describe_model(shipped_bundle())

    assert (described.kind, described.architecture, described.channels) == ("nnU-Net", "PlainConvUNet", ("CT",))
    assert (described.label, described.reach) == ("GTV", "whole volume (trained for this model)")
    assert "baseline" in described.validation
    assert "no-edit control" in described.validation
    assert 1e6 < described.size_bytes < 8e6
    assert "edits reach: whole volume" in described.summary


def test_a_base_model_reaches_near_slices_only_and_names_what_its_loader_finds(tmp_path):
    labels = {"background": 0, "GTV": 1, "node": 2}
    folder = write_nnunet_folder(tmp_path / "model", channels=2, labels=labels, channel_name="PET")

    described, loaded = describe_model(folder), load_base_model(folder, "node", "cpu")

    assert described.labels == ("GTV", "node")
    assert described.label == ""
    assert described.channels == tuple(loaded.channel_names)
    assert described.reach == "near slices only"


def test_a_bundle_may_refer_to_its_base_model(tmp_path):
    base = write_nnunet_folder(tmp_path / "model")
    bundle = write_bundle(tmp_path / "bundle", base, copy_base=False)

    assert describe_model(bundle).channels == describe_model(base).channels


def test_psnn_and_monai_folders_are_described_as_their_loaders_see_them(tmp_path):
    monai, psnn = write_monai_bundle(tmp_path / "monai"), tmp_path / "psnn"
    channels = (ChannelNormalisation("CT"), ChannelNormalisation("PET"))
    architecture = PsnnSettings(2, 2, (3, 4, 5), ((1, 2, 2), (2, 2, 2)))
    chain = PsnnDescription(True, architecture, Preprocessing((3.0, 1.5, 1.5), channels), (8, 16, 16), ("GTV",))
    save_psnn_folder(psnn, chain, {"all": chain.build()})
    for folder, kind in ((monai, "MONAI"), (psnn, "PSNN")):
        described = describe_model(folder)
        loaded = load_base_model(folder, described.labels[0], "cpu")
        assert described.kind == kind
        assert described.channels == tuple(loaded.channel_names)
        assert loaded.target_name in described.labels


@pytest.mark.parametrize("content", ["", "[]", '{"base": 3}', '{"base": {"folder": "gone"}}'])
def test_a_folder_that_describes_no_model_is_refused_by_its_path(tmp_path, content):
    (tmp_path / "bundle.json").write_text(content)

    with pytest.raises(UserInputError, match=str(tmp_path)):
        describe_model(tmp_path)


def test_other_folders_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(UserInputError, match="is not a model's folder; choose one that holds bundle.json"):
        describe_model(tmp_path)
    with pytest.raises(UserInputError, match="is not a folder"):
        describe_model(tmp_path / "gone")


def test_describing_needs_no_torch(tmp_path):
    code = (
        "import sys; from context_propagation.core.model.model_listing import describe_model;"
        f"describe_model({json.dumps(str(shipped_bundle()))}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
