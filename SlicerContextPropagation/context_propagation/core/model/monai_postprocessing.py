"""What a MONAI bundle does with its network's output: how logits become labels, and which parts of a label are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.largest_components import LargestComponents
from context_propagation.core.model.monai_config import USE_PYTHON, MonaiConfig, argument, composed, name_of
from context_propagation.core.model.target import Target

IGNORED = frozenset(
    (
        *("Invertd", "InvertD", "SaveImaged", "SaveImageD"),  # the engine does both in its own way
        *("EnsureTyped", "EnsureTypeD", "ToDeviced", "ToTensord", "DeleteItemsd", "CopyItemsd"),
    )
)


PREDICTION = "pred"
"""The key of the network's output in MONAI's dictionaries."""


DECIDING, KEEPING = ("Activationsd", "AsDiscreted"), "KeepLargestConnectedComponentd"


@dataclass(frozen=True)
class Postprocessing:
    """What is known of it.

    Attributes:
        activation: "softmax" where labels exclude each other, "sigmoid" where each channel is a region of its own.
        half: Labels are what lies above one half of the softmax; with more than two channels that is not the largest.
        keeping: The items that keep the largest parts, in order.
    """

    activation: Literal["softmax", "sigmoid"]
    half: bool
    keeping: tuple[Any, ...]

    def largest(self, target: Target, channels: int) -> LargestComponents | None:
        """What is kept of the target; None for all of it.

        Raises:
            UserInputError: It depends on other labels, or on a connectivity that is not known.
        """
        found = [kept for item in self.keeping if (kept := _kept(item, target, channels, self.activation)) is not None]
        if len(found) > 1 and len(set(found)) > 1:
            raise UserInputError(
                f"The bundle keeps the largest components of '{target.name}' in two ways; {USE_PYTHON}"
            )
        return found[0] if found else None


def read_postprocessing(config: MonaiConfig) -> Postprocessing:
    """Read 'postprocessing'; without one, the labels are where the softmax is largest.

    Raises:
        UserInputError: It changes labels in a way that is not known; the message names it.
    """
    activations: dict[str, bool] = {}
    decided, argmax, half = False, False, False
    keeping: list[Any] = []
    for item in composed(config, "postprocessing") if "postprocessing" in config else []:
        name = name_of(item)
        if name in IGNORED:
            continue
        if name in (*DECIDING, KEEPING):
            _refuse_without_prediction(config, name, argument(item, "keys"))
        if name == "Activationsd":
            activations |= {kind: bool(argument(item, kind)) for kind in ("sigmoid", "softmax")}
            _refuse_used(config, item, name, ("other", "kernel_size"))
        elif name == "AsDiscreted":
            decided, argmax = True, argmax or bool(argument(item, "argmax"))
            half = half or _at_one_half(config, argument(item, "threshold"))
            _refuse_used(config, item, name, ("rounding", "logit_thresh", "threshold_values"))
        elif name == KEEPING and decided:
            keeping.append(item)
        else:
            raise UserInputError(
                f"'{config.file}' names the postprocessing {name!r:.100}, which the engine cannot carry an edit "
                "through; remove it from the file"
            )
    sigmoid = activations.get("sigmoid", False)
    if half and not argmax and not sigmoid and not activations.get("softmax", False):
        raise UserInputError(f"'{config.file}' thresholds logits at 0.5, not probabilities; {USE_PYTHON}")
    return Postprocessing("sigmoid" if sigmoid and not argmax else "softmax", half and not argmax, tuple(keeping))


def _refuse_without_prediction(config: MonaiConfig, name: str, keys: Any) -> None:
    if keys != PREDICTION and not (isinstance(keys, list | tuple) and PREDICTION in keys):
        raise UserInputError(f"'{config.file}': {name} changes {keys!r:.100}; '{PREDICTION}' must be among them")


def _at_one_half(config: MonaiConfig, threshold: Any) -> bool:
    if threshold is None:
        return False
    if isinstance(threshold, bool) or threshold not in (0.5, [0.5]):
        raise UserInputError(f"'{config.file}' thresholds at {threshold!r:.50}; only 0.5 is known, write that")
    return True


def _refuse_used(config: MonaiConfig, item: Any, name: str, arguments: tuple[str, ...]) -> None:
    for unknown in arguments:
        if argument(item, unknown):
            raise UserInputError(f"'{config.file}': the argument '{unknown}' of {name} is not known; {USE_PYTHON}")


def _kept(item: Any, target: Target, channels: int, activation: str) -> LargestComponents | None:
    of_channels = activation == "sigmoid" and channels > 1
    number = target.channel if activation == "softmax" or of_channels else 1
    applied = argument(item, "applied_labels")
    first = 1  # with all labels, MONAI leaves out number 0, of channels too
    labels = list(range(first, channels)) if applied is None else applied
    labels = list(labels) if isinstance(labels, list | tuple) else [labels]
    if applied is None and channels == 1:
        labels = [1]
    if number not in labels:
        return None
    independent, connectivity = argument(item, "independent"), argument(item, "connectivity")
    count = argument(item, "num_components")
    if independent is False and len(labels) > 1:
        raise UserInputError(
            f"{KEEPING} keeps the largest component of labels {', '.join(map(str, labels))} together, and only one is "
            "refined; write independent: true, or remove it from the file"
        )
    if connectivity not in (None, 1, 3) or isinstance(connectivity, bool):
        raise UserInputError(f"{KEEPING} has the connectivity {connectivity!r:.50}; only 1 and 3 are known, write one")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise UserInputError(f"{KEEPING} keeps {count!r:.50} components; write a whole number above 0")
    return LargestComponents(count or 1, connectivity != 1)
