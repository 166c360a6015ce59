"""The `context-propagation` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from context_propagation.core.errors import UserInputError

PROGRAM = "context-propagation"
BAD_INPUT, INTERRUPTED = 2, 130
NOTHING_WRITTEN, KEPT = "nothing was written", "what is finished is kept; the same command goes on"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all other errors do."""

    def error(self, message: str) -> NoReturn:
        raise UserInputError(f"{message}; see {self.prog} --help")


@dataclass(frozen=True)
class _Command:
    """A subcommand: a module with `add_arguments`, a request and a function that takes it and returns what to print.

    Attributes:
        help: In the list of commands.
        description: In its own help.
        module: In `context_propagation.cli`; imported for this command alone, because most are slow to import.
        request: Name of the request's class; its fields are the arguments.
        function: Name of the function.
        interrupted: What Ctrl-C leaves.
    """

    help: str
    description: str
    module: str
    request: str
    function: str
    interrupted: str = NOTHING_WRITTEN

    def imported(self) -> ModuleType:
        """The module."""
        return import_module(f"context_propagation.cli.{self.module}")

    def run(self, fields: dict[str, object]) -> str:
        """Run with the parsed arguments."""
        module = self.imported()
        return str(getattr(module, self.function)(getattr(module, self.request)(**fields)))


# fmt: off
COMMANDS = {
    "predict": _Command("segment an image", "Segment an image with the model.",
        "predict", "PredictRequest", "predict"),
    "propagate": _Command("carry redrawn slices through the volume", "Carry redrawn slices through the volume.",
        "propagate", "PropagateRequest", "propagate"),
    "train-fusion": _Command("train a fusion network for a model, and make a bundle",
        "Train the fusion network of a frozen model on cases that it never saw, and make a bundle.",
        "train_fusion", "TrainFusionRequest", "train_fusion_bundle", KEPT),
    "train-psnn": _Command("train a PSNN, or its chain for CT and PET",
        "Train a PSNN, or the two-stream chain for CT and PET, for use as a frozen model.",
        "train_psnn", "TrainPsnnRequest", "train_psnn_folder", KEPT),
    "register-pet": _Command("bring a PET onto the grid of a CT",
        "Register a PET to a CT, rigid then deformable, and resample it on the CT's grid.",
        "register_pet", "RegisterPetRequest", "register_pet_files"),
    "phantom": _Command("generate cases of no patient",
        "Generate phantoms: CT, or CT and PET, with a tumour and its contour.",
        "phantom", "PhantomRequest", "generate_phantoms"),
    "demo": _Command("the main job on a phantom, with the bundle that ships",
        "Predict, redraw a slice, propagate, measure: on a phantom, with the bundle that ships.",
        "demo", "DemoRequest", "run_demo", KEPT),
    "build-demo": _Command("train the bundle that ships",
        "Train the bundle that ships, from nothing but seeds: phantoms, nnU-Net, fusion network.",
        "build_demo", "BuildDemoRequest", "build_demo", KEPT),
    "evaluate": _Command("run an evaluation protocol: tables with controls",
        "Run an evaluation protocol: k-fold, with every control, per-case figures, tables and plots.",
        "evaluate", "EvaluateRequest", "evaluate", KEPT),
}
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        0; 2 for input that cannot be used, after one line on stderr; 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    interrupted = NOTHING_WRITTEN
    with _messages_on_stderr():
        try:
            command, fields = parsed(argv)
            interrupted = command.interrupted
            _quieten_itk()
            print(command.run(fields))
        except UserInputError as error:
            print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
            return BAD_INPUT
        except KeyboardInterrupt:
            print(f"{PROGRAM}: interrupted; {interrupted}", file=sys.stderr)
            return INTERRUPTED
        except OSError as error:
            where = f"'{error.filename}': " if error.filename else ""
            print(f"{PROGRAM}: error: {where}{error.strerror or error}; choose another place", file=sys.stderr)
            return BAD_INPUT
    return 0


def parsed(argv: Sequence[str]) -> tuple[_Command, dict[str, object]]:
    """The command that arguments name, and what its request is made of.

    Raises:
        UserInputError: They cannot be parsed.
    """
    fields = vars(build_parser(argv).parse_args(argv))
    return COMMANDS[fields.pop("command")], fields


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these arguments: only the command that they name has its own, as its module must be imported."""
    parser = _Parser(prog=PROGRAM, description="Redraw one slice; a frozen network carries it through the volume.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    named = next((word for word in argv if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help, description=command.description)
        if name == named:
            command.imported().add_arguments(own)
    return parser


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
