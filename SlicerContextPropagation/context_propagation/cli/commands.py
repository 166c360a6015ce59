"""The table of commands, and the parser that is made of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from context_propagation import __version__
from context_propagation.core.errors import UserInputError

PROGRAM = "context-propagation"


NOTHING_WRITTEN, KEPT = "nothing was written", "what is finished is kept; the same command goes on"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all other errors do."""

    def error(self, message: str) -> NoReturn:
        raise UserInputError(f"{message}; see {self.prog} --help")


@dataclass(frozen=True)
class _Command:
    """A subcommand: a module with `add_arguments`, and `run`, which returns what to print.

    Attributes:
        help: In the list of commands.
        description: In its own help.
        module: In `context_propagation.cli`; imported for this command alone, because most are slow to import.
        interrupted: What Ctrl-C leaves.
    """

    help: str
    description: str
    module: str
    interrupted: str = NOTHING_WRITTEN

    def imported(self) -> ModuleType:
        """The module."""
        return import_module(f"context_propagation.cli.{self.module}")

    def run(self, fields: dict[str, object]) -> str:
        """Run with the parsed arguments."""
        return str(self.imported().run(**fields))


# fmt: off
COMMANDS = {
    "predict": _Command("segment an image", "Segment an image with the model.",
        "predict"),
    "propagate": _Command("carry redrawn slices through the volume", "Carry redrawn slices through the volume.",
        "propagate"),
    "propagate-cohort": _Command("make recorded edits again over a table of cases",
        "Make recorded edits again over a table of cases: a segmentation for each, and a table of outcomes.",
        "propagate_cohort", KEPT),
    "train-fusion": _Command("train a fusion network for a model, and make a bundle",
        "Train the fusion network of a frozen model on cases that it never saw, and make a bundle.",
        "train_fusion", KEPT),
    "train-general": _Command("train the far network that serves models without a fusion network",
        "Train the general far network from nothing but seeds: phantoms, several base models, simulated edits.",
        "train_general", KEPT),
    "train-psnn": _Command("train a PSNN, or its chain for CT and PET",
        "Train a PSNN, or the two-stream chain for CT and PET, for use as a frozen model.",
        "train_psnn", KEPT),
    "register-pet": _Command("bring a PET onto the grid of a CT",
        "Register a PET to a CT, rigid then deformable, and resample it on the CT's grid.",
        "register_pet"),
    "even-slices": _Command("make a CT with two slice distances even",
        "Make a volume file with even slices of a DICOM series whose slices lie unevenly, such as 3 and 5 mm apart.",
        "even_slices"),
    "phantom": _Command("generate cases of no patient",
        "Generate phantoms: CT, or CT and PET, with a tumour and its contour.",
        "phantom"),
    "demo": _Command("try it on a phantom: predict, redraw, propagate, measure",
        "Predict, redraw a slice, propagate, measure: on a phantom, with the bundle that ships.",
        "demo", KEPT),
    "build-demo": _Command("train the bundle that ships",
        "Train the bundle that ships, from nothing but seeds: phantoms, nnU-Net, fusion network.",
        "build_demo", KEPT),
    "serve": _Command("let others use this computer's GPU: sessions over the network",
        "Serve sessions to command line and console on other computers; see docs/server.md for how to do it safely.",
        "serve", "all sessions are closed"),
    "benchmark": _Command("measure what an edit costs here",
        "Measure on this computer what a forward pass, an image and an edit cost, and what they would cost at best.",
        "benchmark"),
    "evaluate": _Command("run an evaluation protocol: tables with controls",
        "Run an evaluation protocol: k-fold, with every control, per-case figures, tables and plots.",
        "evaluate", KEPT),
    "tables": _Command("put all evaluated protocols on one page",
        "Put the tables and pictures of all evaluated protocols on one HTML page that needs no other file.",
        "tables"),
}
# fmt: on


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
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    named = next((word for word in argv if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help, description=command.description)
        if name == named:
            command.imported().add_arguments(own)
    return parser
