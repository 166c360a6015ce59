"""What docs/any-network.md shows does what the page says; that it runs is tested with all pages."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[3] / "docs" / "any-network.md"


@pytest.fixture(scope="module")
def names():
    pytest.importorskip("monai")
    found = {}
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)):
        exec(code, found)
        found[f"model {number}"] = found.get("model")
    return found


def test_the_example_with_a_module_propagates_and_keeps_the_drawn_slice(names):
    assert np.array_equal(names["result"].segmentation[12], names["drawn"])
    assert names["result"].updates[0].loss_after < names["result"].updates[0].loss_before


def test_the_example_with_two_callables_finds_their_stride(names):
    assert names["model 2"].total_stride == (2, 2, 2)
    assert names["model 2"] is not names["model 1"]
