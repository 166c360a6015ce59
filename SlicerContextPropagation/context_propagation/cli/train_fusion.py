"""`context-propagation train-fusion`: from a frozen model and labelled cases that it never saw to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from context_propagation.cli.arguments import add_running, add_trust
from context_propagation.core.propagation.fusion_network import Variant
from context_propagation.evaluation.far_thresholds import ALLOWED_REGRESSION
from context_propagation.evaluation.validated_bundle import TrainFusionRequest, train_fusion_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="trained-model folder of nnU-Net v2")
    add("--images", type=Path, required=True, metavar="DIR", help="images, named as nnU-Net names them")
    add("--labels", type=Path, required=True, metavar="DIR", help="labelmaps, named as their cases")
    add("--output", type=Path, required=True, metavar="BUNDLE", help="the bundle's folder")
    add("--folds", type=Path, metavar="FILE", help="nnU-Net's splits_final.json: which cases each fold never saw")
    add("--label", metavar="NAME_OR_INT", help="the label; needed where the model has several")
    add("--level", type=int, choices=(1, 2, 3), default=2, help="decoder level")
    add("--variant", choices=get_args(Variant), default="residual", help="architecture of the fusion network")
    add("--width", type=float, default=2.0, help="hidden channels as a multiple of the features'")
    add("--epochs", type=int, default=20, help="at most; the best one on the validation cases is kept")
    add("--averaging", type=float, default=0.0, metavar="SHARE", help="share of the average kept at each step; 0: off")
    add("--edits-per-case", type=int, default=3, help="simulated edits of each image")
    add("--augmented-copies", type=int, default=1, help="copies of each image with augmented intensities")
    add("--contour-styles", type=int, default=0, help="further contours of each image, up to 3 mm wider or tighter")
    add(
        "--allowed-regression", type=float, default=ALLOWED_REGRESSION, metavar="SHARE",
        help="share of untouched slices that may become worse on the validation cases",
    )  # fmt: skip
    add("--seed", type=int, default=0)
    add_running(parser)
    add_trust(parser)


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(train_fusion_bundle(TrainFusionRequest(**fields)))
