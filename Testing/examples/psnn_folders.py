"""A small PSNN on disk, with seeded random weights: it loads in a moment, as it needs no package but torch."""

from __future__ import annotations

from pathlib import Path

import torch

from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.model.psnn_folder import PsnnDescription, save_psnn_folder
from context_propagation.core.network.psnn import PsnnSettings


def write_psnn(folder: Path) -> Path:
    """One channel, one label, three decoder levels."""
    description = PsnnDescription(
        chain=False,
        architecture=PsnnSettings(1, 2, (3, 4, 5), ((1, 2, 2), (2, 2, 2))),
        preprocessing=Preprocessing((1.5, 1.25, 1.0), (ChannelNormalisation("MRI"),)),
        patch_size=(8, 16, 16),
        labels=("GTV",),
        provenance={"cases": 1},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_psnn_folder(folder, description, {"all": description.build()})
    return folder
