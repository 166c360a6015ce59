"""The general far network in a folder: `general_far.json` says what it is, the weights lie beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from context_propagation.core.bundle.thresholds_entry import plain_thresholds, read_thresholds
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.far_evidence import MAPS, NUMBERS
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.general_far import GeneralFar
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.core.storage.checked_entries import Entries, read_json
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.weights_file import read_weights

FOLDER = Path(__file__).resolve().parents[2] / "bundles" / "general_far"
"""What ships with the package; `context-propagation train-general` trains it."""


FORMAT = "context-propagation general far network 2"


FILE_NAME, WEIGHTS, CONTROL = "general_far.json", "general_far.safetensors", "no-edit-control.safetensors"


COPY_AGAIN = "install the package again"


MAX_WIDTH = 256


MOST_FADING = 100


def general_far_of(network: GeneralFarNetwork, far_thresholds: FarThresholds) -> GeneralFar:
    """A trained network with the hash of all that it computes with."""
    settings = [network.width, MAPS, NUMBERS, *far_thresholds.hashed, far_thresholds.fading_slices]
    return GeneralFar(
        network, far_thresholds, content_hash({"settings": json.dumps(settings).encode()}, [network.state_dict()])
    )


def save_general_far(folder: Path, general: GeneralFar, control: GeneralFarNetwork, provenance: dict[str, Any]) -> None:
    """Write the network, its no-edit control, and what they are.

    Raises:
        OSError: A file cannot be written.
    """
    serialize = require("safetensors.torch", extra="nnunet").save
    for name, network in ((WEIGHTS, general.network), (CONTROL, control)):
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
        (folder / name).write_bytes(serialize(tensors))
    content = {
        "format": FORMAT,
        "width": general.network.width,
        "maps": MAPS,
        "numbers": NUMBERS,
        "far_thresholds": {
            **plain_thresholds(general.far_thresholds),
            "fading_slices": general.far_thresholds.fading_slices,
        },
        "sha256": general.content_hash,
        "provenance": provenance,
    }
    (folder / FILE_NAME).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@lru_cache(maxsize=2)
def load_general_far(folder: Path = FOLDER, weights: str = WEIGHTS) -> GeneralFar:
    """Read a network once.

    Args:
        folder: By default what ships.
        weights: Of the network, or of its control.

    Raises:
        UserInputError: Something is missing, damaged or of another format.
    """
    entries = Entries(folder / FILE_NAME, read_json(folder / FILE_NAME, COPY_AGAIN), COPY_AGAIN)
    if (found := entries.any("format")) != FORMAT:
        entries.refuse("format", found, repr(FORMAT))
    width, sha256 = entries.whole_number("width", 1, MAX_WIDTH), entries.sha256("sha256")
    for name, wanted in (("maps", MAPS), ("numbers", NUMBERS)):
        entries.whole_number(name, wanted, wanted)
    thresholds = entries.object("far_thresholds")
    fading = thresholds.whole_number("fading_slices", 1, MOST_FADING)
    far_thresholds = replace(read_thresholds(thresholds), fading_slices=fading)
    general = general_far_of(
        read_weights(folder / weights, lambda: GeneralFarNetwork(width), COPY_AGAIN), far_thresholds
    )
    if weights == WEIGHTS and general.content_hash != sha256:
        raise UserInputError(
            f"The weights and thresholds in '{folder}' have SHA-256 {general.content_hash[:12]}, not {sha256[:12]} as "
            f"when they were made; {COPY_AGAIN}"
        )
    return general


def has_general_far(folder: Path = FOLDER) -> bool:
    """Whether there is one."""
    return (folder / FILE_NAME).is_file()
