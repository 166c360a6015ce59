"""A picture of the trainings of fusion networks: validation DSC and training loss by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from context_propagation.core.optional_dependency import require


def plot_training(logs: Sequence[Path], path: Path) -> None:
    """Draw the curves of several trainings.

    Args:
        logs: CSV files with the columns of `EpochLog`; their names are the legend.
        path: PNG file.
    """
    figure = require("matplotlib.figure", extra="cli").Figure(figsize=(9, 3.5), layout="constrained")
    read = require("pandas", extra="evaluation").read_csv
    loss, dsc = figure.subplots(1, 2)
    for log in logs:
        frame = read(log)
        loss.plot(frame["epoch"], frame["training_loss"], marker=".", label=log.stem)
        dsc.plot(frame["epoch"], frame["validation_dsc"], marker=".", label=log.stem)
    loss.set(xlabel="epoch", ylabel="training loss, far slices")
    dsc.set(xlabel="epoch", ylabel="validation DSC, far slices")
    loss.legend(fontsize="small")
    figure.savefig(path, dpi=120)
