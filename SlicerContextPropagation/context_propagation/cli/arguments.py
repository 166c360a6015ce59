"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from context_propagation.cli.server_choice import add_server
from context_propagation.core.device import DEVICES


def add_model_and_image(parser: argparse.ArgumentParser) -> None:
    """Of commands that segment an image."""
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="a bundle, or the folder of a frozen model")
    add(
        "--image",
        type=Path,
        required=True,
        nargs="+",
        metavar="FILE_OR_DICOM_DIR",
        help="NIfTI, NRRD, MHA or DICOM folder; one per channel, in the model's order",
    )
    add(
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="ends in .seg.nrrd, .nii.gz, .nii, .nrrd, .mha, .dcm (RT Structure Set), or .seg.dcm (DICOM segmentation)",
    )
    add("--label", metavar="NAME_OR_INT", help="the label; needed where the model has several; a bundle has its own")
    add(
        "--orientation",
        type=str.upper,
        metavar="LPS",
        help="orientation of the training's arrays, where all cases had one and the model does not say it",
    )
    add("--checkpoint", metavar="FILE", help="of each fold of an nnU-Net model, such as checkpoint_latest.pth")
    add_suv(parser)
    add("--device", choices=DEVICES, default="auto")
    add_trust(parser)
    add_server(parser)


def add_suv(parser: argparse.ArgumentParser) -> None:
    """Of commands that read a PET."""
    help_text = "make SUVs by body weight of a PET that is a DICOM folder in Bq/ml; refused where its headers do not do"
    parser.add_argument("--suv", action="store_true", help=help_text)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Of commands that load a model."""
    trusted = "let a MONAI bundle's own expressions run: they are code; only for bundles whose maker you trust"
    parser.add_argument("--trust-bundle", action="store_true", help=trusted)


def add_running(parser: argparse.ArgumentParser) -> None:
    """Of commands that run for long."""
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time; one per CPU core by default")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def add_scheduler(parser: argparse.ArgumentParser) -> None:
    """Of commands that a cluster may do; see docs/cluster.md. `jobs_placed` takes them."""
    add = parser.add_argument
    add("--scheduler", metavar="ADDRESS", help="run on the Dask cluster there: tcp://host:8786, or tls://host:8786")
    add("--scheduler-file", type=Path, metavar="FILE", help="run on the Dask cluster whose scheduler wrote this file")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Of commands of many jobs, which a cluster may do, or a job array."""
    add_scheduler(parser)
    add = parser.add_argument
    add("--part", type=int, metavar="I", help="do the I-th of --parts shares of the jobs, and end; 1 is the first")
    add("--parts", type=int, metavar="N", help="how many shares there are")
