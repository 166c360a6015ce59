"""`context-propagation train-fusion`: from a frozen model and labelled cases that it never saw to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from context_propagation.cli.arguments import add_running, add_trust
from context_propagation.core.propagation.fusion_settings import Variant
from context_propagation.evaluation.validated_bundle import TrainFusionRequest, train_fusion_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add, default = parser.add_argument, TrainFusionRequest
    add("--model", type=Path, required=True, metavar="DIR", help="trained-model folder of nnU-Net v2")
    add("--images", type=Path, required=True, metavar="DIR", help="images, named as nnU-Net names them")
    add("--labels", type=Path, required=True, metavar="DIR", help="labelmaps, named as their cases")
    add("--output", type=Path, required=True, metavar="BUNDLE", help="the bundle's folder")
    add("--folds", type=Path, metavar="FILE", help="nnU-Net's splits_final.json: which cases each fold never saw")
    add("--label", metavar="NAME_OR_INT", help="the label; needed where the model has several")
    add("--level", type=int, choices=(1, 2, 3), default=default.level, help="decoder level")
    add(
        "--variant", dest="fusion", choices=get_args(Variant), default=default.fusion,
        help="architecture of the fusion network",
    )  # fmt: skip
    add("--width", type=float, default=default.width, help="hidden channels as a multiple of the features'")
    add("--most-hidden", type=int, default=default.most_hidden, metavar="N", help="hidden channels, at most")
    add("--epochs", type=int, default=default.epochs, help="at most; the best one on the validation cases is kept")
    add(
        "--averaging", type=float, default=default.averaging, metavar="SHARE",
        help="share of the average kept at each step; 0: off",
    )  # fmt: skip
    add("--edits-per-case", type=int, default=default.edits_per_case, help="simulated edits of each image")
    add(
        "--augmented-copies", type=int, default=default.augmented_copies,
        help="copies of each image with augmented intensities",
    )  # fmt: skip
    add(
        "--contour-styles", type=int, default=default.contour_styles,
        help="further contours of each image, up to 3 mm wider or tighter",
    )  # fmt: skip
    add(
        "--allowed-regression", type=float, default=default.allowed_regression, metavar="SHARE",
        help="share of untouched slices that may become worse on the validation cases",
    )  # fmt: skip
    add("--seed", type=int, default=default.seed)
    add_running(parser)
    add_trust(parser)


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(train_fusion_bundle(TrainFusionRequest(**fields)))
