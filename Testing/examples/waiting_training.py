"""`train-fusion` with jobs that only wait: progress, processes and end are the command's, and nothing is trained."""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

from context_propagation.cli.for_program import serve_program
from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.course import Course
from context_propagation.training.processes import run_in_parallel
from worker_jobs import stay

SECONDS = "WAITING_TRAINING_SECONDS"
"""How long each job waits, for a program that cannot say it; else as long as `--seconds`."""

DSC = {"largest, far, baseline": 0.5, "largest, far, no-edit control": 0.5, "largest, far, fusion": 0.75}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--for-program", action="store_true", required=True)
    for option in ("--model", "--output", "--label", "--device"):
        parser.add_argument(option)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get(SECONDS, 0)))
    parser.add_argument("--refuse")
    parser.add_argument("--break-down", action="store_true")
    given = parser.parse_args()
    model = Path(given.model)
    told = serve_program()
    try:
        if given.break_down:
            raise RuntimeError("no such thing")
        if given.refuse:
            raise UserInputError(given.refuse)
        jobs = [partial(stay, model, number, given.seconds) for number in range(4)]
        leaves = [model / f"done-{number}" for number in range(4)]
        run_in_parallel(jobs, "simulated edits", 2, (), leaves, Course([1], told).stage())
    except UserInputError as error:
        print(f"context-propagation: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("context-propagation: interrupted; what is finished is kept", file=sys.stderr)
        return 130
    bundle = Path(given.output or f"{model}-bundle")
    bundle.mkdir()
    made = {"training_cases": [4], "validation_cases": [1], "validation": {"dsc": DSC}}
    (bundle / "bundle.json").write_text(json.dumps({"provenance": made}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
