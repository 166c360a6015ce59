"""What docs/any-network.md shows is run as it stands there."""

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.model.network_model import Output
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from free_networks import free_network

PAGE = Path(__file__).parents[3] / "docs" / "any-network.md"


def the_code_of_the_page():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_with_a_module_runs_as_it_stands(tmp_path, monkeypatch):
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(40, 100, size=(24, 30, 28)).astype(np.float32))
    image.SetSpacing((1.2, 1.1, 3.0))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    monkeypatch.chdir(tmp_path)
    code = the_code_of_the_page()[0]
    names = {"network": free_network("UNet")}

    exec(code, names)

    assert len(code.splitlines()) <= 20
    assert np.array_equal(names["result"].segmentation[12], names["drawn"])
    assert names["result"].updates[0].loss_after < names["result"].updates[0].loss_before


def test_the_example_with_two_callables_runs_as_it_stands():
    network = free_network("PlainConvUNet")

    def encode(x):
        skips = network.encoder(x)
        return skips[-1], tuple(skips[:-1])

    def decode(f, skips):
        return network.decoder([*skips, f])

    names = {
        "network": network,
        "encode": encode,
        "decode": decode,
        "preprocessing": Preprocessing(None, (ChannelNormalisation("CT"),)),
        "output": Output(("background", "GTV"), "GTV"),
    }

    exec("from context_propagation import from_network\n" + the_code_of_the_page()[1], names)

    assert names["model"].total_stride == (8, 8, 8)
    assert names["model"].splits[0].f_channels(2) == 10
