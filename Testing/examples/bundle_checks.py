"""Why a bundle is refused, and what lies in its folder."""

from pathlib import Path

import pytest

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.errors import UserInputError

THREE = {"background": 0, "GTV": 1, "node": 2}


def refusal(path: Path, **arguments) -> str:
    with pytest.raises(UserInputError) as caught:
        load_model(path, device="cpu", **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
