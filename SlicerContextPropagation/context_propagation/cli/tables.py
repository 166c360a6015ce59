"""`context-propagation tables`: all evaluated protocols on one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from context_propagation.cli.output_files import OutputFiles
from context_propagation.evaluation.html_page import html_page
from context_propagation.files.self_contained_page import check_page_ending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add = parser.add_argument
    add("--results", type=Path, required=True, metavar="DIR", help="with the output folder of each evaluated protocol")
    add("--output", type=Path, required=True, metavar="FILE", help="the page; its name ends in .html")


def run(results: Path, output: Path) -> str:
    """Run with the parsed arguments; returns what to print."""
    check_page_ending(output)
    with OutputFiles([output]) as files:
        files.staged(output).write_text(html_page(results), encoding="utf-8")
        files.publish()
    return f"{output}: open it in a browser"
