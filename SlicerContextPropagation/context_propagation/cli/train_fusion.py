"""`context-propagation train-fusion`: from a frozen model and labelled cases that it never saw to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from context_propagation.cli.arguments import add_places, add_running, add_trust
from context_propagation.cli.for_program import serve_program
from context_propagation.cli.job_places import jobs_placed
from context_propagation.core.propagation.fusion_settings import Variant
from context_propagation.evaluation.course import tell_no_one
from context_propagation.evaluation.validated_bundle import FEW_CASES, Start, TrainFusionRequest, train_fusion_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add, default = parser.add_argument, TrainFusionRequest
    add("--model", type=Path, required=True, metavar="DIR", help="trained-model folder of nnU-Net v2")
    found = "by default found from the model's folder, where nnU-Net lays it"
    add("--images", type=Path, metavar="DIR", help=f"images, named as nnU-Net names them; {found}")
    add("--labels", type=Path, metavar="DIR", help=f"labelmaps, named as their cases; {found}")
    add("--output", type=Path, metavar="BUNDLE", help="the bundle's folder; by default beside the model's")
    add(
        "--folds", type=Path, metavar="FILE",
        help=f"nnU-Net's splits_final.json: which cases each fold never saw; {found}",
    )  # fmt: skip
    add("--label", metavar="NAME_OR_INT", help="the label; needed where the model has several")
    add("--level", type=int, choices=(1, 2, 3), default=default.level, help="decoder level")
    add(
        "--start", choices=get_args(Start), default=default.start,
        help="what training starts from: the general far network, a fresh one of the variant, or by how many cases "
        f"there are: auto takes the general one where a fold has fewer than {FEW_CASES} to train on",
    )  # fmt: skip
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
    add_places(parser)
    add_trust(parser)
    add(
        "--for-program", action="store_true",
        help="for a program that runs this: progress as lines of JSON on standard output; standard input's end is "
        "taken as Ctrl-C",
    )  # fmt: skip


def run(for_program: bool = False, **fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    told = serve_program() if for_program else tell_no_one
    bundle = fields.get("output") or fields["model"]
    with jobs_placed(fields, [bundle.parent], [fields["model"], fields.get("images"), fields.get("labels")]) as others:
        trained = train_fusion_bundle(TrainFusionRequest(**others), told)
    return f"{trained.path}: {trained.summary}"
