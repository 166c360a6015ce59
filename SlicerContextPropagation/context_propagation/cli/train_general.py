"""`context-propagation train-general`: the far network for models that have none of their own, from phantoms alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from context_propagation.training.general.general_run import TrainGeneralRequest, train_general_network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add, default = parser.add_argument, TrainGeneralRequest()
    add("--output", type=Path, default=default.output, metavar="DIR", help="by default the package's own folder")
    add("--work", type=Path, metavar="DIR", help="for phantoms and trainings; kept, so that a further run is quick")
    add("--phantoms", type=int, default=default.phantoms, help="to learn from, with the first base model")
    add("--base-cases", type=int, default=default.base_cases, help="phantoms that each base model is trained on")
    add("--base-epochs", type=int, default=default.base_epochs, help="of a base model, of 40 steps each")
    add("--epochs", type=int, default=default.epochs, help="of the far network")
    add("--width", type=int, default=default.width, help="channels of its hidden layers")
    add("--seed", type=int, default=default.seed)
    add(
        "--allowed-regression", type=float, default=default.allowed_regression, metavar="SHARE",
        help="share of far slices that may become worse on the validation phantoms",
    )  # fmt: skip
    add("--jobs", type=int, metavar="N", help="processes at a time; one per CPU core by default")


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return train_general_network(TrainGeneralRequest(**fields))
