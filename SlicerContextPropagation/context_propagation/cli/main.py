"""The `context-propagation` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from context_propagation.core.errors import UserInputError

PROGRAM = "context-propagation"
BAD_INPUT, INTERRUPTED = 2, 130
NOTHING_WRITTEN, KEPT = "nothing was written", "what is finished is kept; the same command goes on"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all other errors do."""

    def error(self, message: str) -> NoReturn:
        raise UserInputError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        0; 2 for input that cannot be used, after one line on stderr; 130 after Ctrl-C.
    """
    interrupted = NOTHING_WRITTEN
    with _messages_on_stderr():
        try:
            arguments = build_parser().parse_args(argv)
            interrupted = getattr(arguments, "interrupted", interrupted)
            print(arguments.run(arguments))
        except UserInputError as error:
            print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
            return BAD_INPUT
        except KeyboardInterrupt:
            print(f"{PROGRAM}: interrupted; {interrupted}", file=sys.stderr)
            return INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser; each command's namespace has `run`."""
    parser = _Parser(prog=PROGRAM, description="Redraw one slice; a frozen network carries it through the volume.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="segment an image", description="Segment an image with the model.")
    _add_common(predict)
    predict.set_defaults(run=_predict)
    propagate = commands.add_parser(
        "propagate",
        help="carry redrawn slices through the volume",
        description="Carry redrawn slices through the volume.",
    )
    _add_common(propagate)
    _add_propagate(propagate)
    propagate.set_defaults(run=_propagate)
    train = commands.add_parser(
        "train-fusion",
        help="train a fusion network for a model, and make a bundle",
        description="Train the fusion network of a frozen model on cases that it never saw, and make a bundle.",
    )
    _add_train_fusion(train)
    train.set_defaults(run=_train_fusion, interrupted=KEPT)
    evaluate = commands.add_parser(
        "evaluate",
        help="run an evaluation protocol: tables with controls",
        description="Run an evaluation protocol: k-fold, with every control, per-case figures, tables and plots.",
    )
    _add_evaluate(evaluate)
    evaluate.set_defaults(run=_evaluate, interrupted=KEPT)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="trained-model folder of nnU-Net v2, or a bundle")
    add(
        "--image",
        type=Path,
        required=True,
        nargs="+",
        metavar="FILE_OR_DICOM_DIR",
        help="NIfTI, NRRD, MHA or DICOM folder; one per channel, in the model's order",
    )
    add("--output", type=Path, required=True, metavar="OUT", help="ends in .seg.nrrd, .nii.gz, .nii, .nrrd or .mha")
    add("--label", metavar="NAME_OR_INT", help="the label; needed where the model has several; a bundle has its own")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _add_propagate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--initial", type=Path, required=True, metavar="SEG", help="segmentation before the edit")
    add("--edited", type=Path, required=True, metavar="SEG", help="segmentation with the redrawn slices")
    add("--plane", choices=("auto", "axial", "sagittal", "coronal"), default="auto", help="plane of the edited slices")
    add("--slices", default="auto", metavar="auto|12,40", help="edited slices, from 0; auto compares the segmentations")
    add("--level", type=int, choices=(1, 2, 3), help="decoder level; 2 by default, or the bundle's")
    add("--optimizer", choices=("lbfgs", "adam"), default="lbfgs")
    add("--report", type=Path, metavar="OUT.json", help="what was done, as JSON")
    add("--figure", type=Path, metavar="OUT.png", help="three planes, before and after")


def _add_train_fusion(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="trained-model folder of nnU-Net v2")
    add("--images", type=Path, required=True, metavar="DIR", help="images, named as nnU-Net names them")
    add("--labels", type=Path, required=True, metavar="DIR", help="labelmaps, named as their cases")
    add("--output", type=Path, required=True, metavar="BUNDLE", help="the bundle's folder")
    add("--folds", type=Path, metavar="FILE", help="nnU-Net's splits_final.json: which cases each fold never saw")
    add("--label", metavar="NAME_OR_INT", help="the label; needed where the model has several")
    add("--level", type=int, choices=(1, 2, 3), default=2, help="decoder level")
    add("--variant", choices=("residual", "paper"), default="residual", help="architecture of the fusion network")
    add("--width", type=float, default=2.0, help="hidden channels as a multiple of the features'")
    add("--epochs", type=int, default=20, help="at most; the best one on the validation cases is kept")
    add("--edits-per-case", type=int, default=3, help="simulated edits of each image")
    add("--augmented-copies", type=int, default=1, help="copies of each image with augmented intensities")
    add("--seed", type=int, default=0)
    _add_running(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--protocol", type=Path, required=True, metavar="FILE", help="TOML; see benchmarks/protocols")
    add(
        "--output", type=Path, required=True, metavar="DIR", help="for models, results and tables; goes on where it was"
    )
    add("--work", type=Path, metavar="DIR", help="for models and caches; protocols that train alike share it")
    add("--quick", action="store_true", help="the protocol's quick values: whether it runs, not what it shows")
    _add_running(parser)


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time; one per CPU core by default")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _predict(arguments: argparse.Namespace) -> str:
    from context_propagation.cli.predict import PredictRequest, predict

    _quieten_itk()
    return predict(PredictRequest(**_fields(arguments)))


def _propagate(arguments: argparse.Namespace) -> str:
    from context_propagation.cli.edit_choice import parse_slices
    from context_propagation.cli.propagate import PropagateRequest, propagate

    _quieten_itk()
    fields = _fields(arguments)
    return propagate(PropagateRequest(**{**fields, "slices": parse_slices(arguments.slices)}))


def _train_fusion(arguments: argparse.Namespace) -> str:
    from context_propagation.cli.train_fusion import TrainFusionRequest, train_fusion_bundle

    _quieten_itk()
    return train_fusion_bundle(TrainFusionRequest(**_fields(arguments)))


def _evaluate(arguments: argparse.Namespace) -> str:
    from context_propagation.cli.evaluate import EvaluateRequest, evaluate

    _quieten_itk()
    return evaluate(EvaluateRequest(**_fields(arguments)))


def _fields(arguments: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(arguments).items() if name not in ("run", "interrupted")}


def _quieten_itk() -> None:
    """ITK prints warnings of several lines; what matters in them is checked and raised in one."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        return f"{PROGRAM}: {kind}: {' '.join(record.getMessage().split())}"


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    """The package's own log, one line per message."""
    logger = logging.getLogger("context_propagation")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
