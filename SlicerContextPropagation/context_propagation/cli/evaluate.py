"""`context-propagation evaluate`: a protocol from the training of the base models to the tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from context_propagation.cli.arguments import add_places, add_running
from context_propagation.cli.job_places import jobs_placed
from context_propagation.cli.replaced_files import check_results_folder
from context_propagation.evaluation.request import EvaluateRequest
from context_propagation.evaluation.run import evaluate

RESULTS = ("commits.json", "cases.csv", "summary.md", "summary.json", "rows.png", "edits.png", "regression.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add = parser.add_argument
    add("--protocol", type=Path, required=True, metavar="FILE", help="TOML; see benchmarks/protocols")
    add(
        "--output", type=Path, required=True, metavar="DIR", help="for models, results and tables; goes on where it was"
    )
    add("--work", type=Path, metavar="DIR", help="for models and caches; protocols that train alike share it")
    add("--quick", action="store_true", help="a short run with the protocol's quick values: a test, no results")
    add_running(parser)
    add_places(parser)


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    output = fields["output"]
    pictures = [file.name for file in output.glob("*-fold*.png")] if output.is_dir() else []
    check_results_folder(output, [*RESULTS, *pictures], "protocol.json")
    with jobs_placed(fields, [output, fields.get("work")]) as others:
        return str(evaluate(EvaluateRequest(**others)))
