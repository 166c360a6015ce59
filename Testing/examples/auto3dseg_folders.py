"""Models as Slicer's extension MONAI Auto3DSeg unpacks them, with seeded random weights instead of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

NETWORK = {
    "_target_": "SegResNetDS",
    "spatial_dims": 3,
    "init_filters": 4,
    "in_channels": 1,
    "out_channels": 3,
    "blocks_down": [1, 1, 2],
    "norm": "INSTANCE",
    "dsdepth": 2,
}
CONFIG = {
    "network": NETWORK,
    "modality": "ct",
    "normalize_mode": "range",
    "intensity_bounds": [-150.0, 250.0],
    "orientation_ras": True,
    "crop_foreground": True,
    "resample_resolution": [2.0, 2.0, 3.0],
    "roi_size": [16, 16, 16],
    "class_names": ["Liver", "Spleen"],
    "sigmoid": False,
}
LABELS = "LabelValue,Name,SegmentedPropertyCategoryCodeSequence.CodingSchemeDesignator\n1,Liver,SCT\n2,Spleen,SCT\n"


def write_auto3dseg_folder(path: Path, labels: str = LABELS, network: dict[str, Any] | None = None, **changes) -> Path:
    """Write a model.

    Args:
        path: Folder that is made.
        labels: Content of `labels.csv`.
        network: Entries of the network's description in place of `NETWORK`'s.
        changes: Entries of the configuration in place of `CONFIG`'s; None takes one out.

    Returns:
        `path`.
    """
    from monai.networks.nets import SegResNetDS

    path.mkdir(parents=True)
    config = {**CONFIG, "network": {**NETWORK, **(network or {})}, **changes}
    config = {key: value for key, value in config.items() if value is not None}
    torch.manual_seed(0)
    arguments = {key: value for key, value in config["network"].items() if key != "_target_"}
    built = SegResNetDS(**arguments | {"norm": "INSTANCE"})
    content = {"epoch": 7, "best_metric": np.float64(0.8), "config": config, "state_dict": built.state_dict()}
    torch.save(content, path / "model.pt")
    (path / "labels.csv").write_text(labels)
    return path
