"""How long a refusal takes: every value of every file of a small model is changed, and the slowest refusals printed.

python benchmarks/slowest_refusal.py [--changes N] [--seed N]; goal: none above 10 s. A change that ends in neither a
prediction nor one line is printed too.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "Testing" / "examples"))

from mutated_models import VALUES, documents, predicted, write_image

GOAL_S = 10.0


def main() -> int:
    """Print the slowest refusals, slowest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200, help="of each file, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    refused, faults, done = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, found = write_image(folder / "image.nii.gz"), documents(folder / "models")
        predicted(found["plans"].folder, image, folder / "first.nii.gz")  # imports are no part of a refusal
        for kind, document in found.items():
            places = document.places()
            for _ in range(options.changes):
                place, value = draw.choice(places), draw.choice(VALUES)
                where = f"{kind} {'.'.join(map(str, place))} = {value!r:.40}"
                model = document.mutated(folder / "one", place, value)
                try:
                    run = predicted(model, image, folder / "out.nii.gz")
                    if run.code == 2 and len(run.error_lines) == 1:
                        refused.append((run.seconds, where, run.error_lines[0]))
                    elif run.code != 0:
                        faults.append(f"{where}: exit {run.code}, {run.error_lines}")
                except BaseException as error:
                    faults.append(f"{where}: {type(error).__name__}: {error!s:.200}")
                done += 1
                shutil.rmtree(model)
                (folder / "out.nii.gz").unlink(missing_ok=True)
    slowest = sorted(refused, reverse=True)[:5]
    print(f"{done} changes, {len(refused)} refused, {len(faults)} neither predicted nor refused in one line")
    for fault in faults:
        print(f"FAULT {fault}")
    for seconds, where, line in slowest:
        print(f"{seconds:6.2f} s  {where}: {line[:150]}")
    return 1 if faults or (slowest and slowest[0][0] > GOAL_S) else 0


if __name__ == "__main__":
    sys.exit(main())
