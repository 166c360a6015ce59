"""How long an evaluation's testing takes, networks given, beside version 0.1's.

    python benchmarks/testing_time.py --against FOLDER

FOLDER is a checkout of version 0.1 (6d7da9d) with a `.venv` of its own. Each build first trains its own networks, once.
Then the same command runs in turn with each build: on an empty output folder, and once more on the finished one. The
difference is what testing and pictures took. This build prints the seconds of its stages. Version 0.1 does not: its
testing is the difference, with the one picture that it draws; this build draws four.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from context_propagation.core.provenance import provenance

HERE = Path(__file__).resolve().parents[1]
PROTOCOL = HERE / "benchmarks" / "protocols" / "hippocampus-clean.toml"


@dataclass(frozen=True)
class Build:
    """A checkout, the protocol as it names its fields, and the folder of its networks and results."""

    name: str
    checkout: Path
    folder: Path
    jobs: int | None

    def write_protocol(self, cases: int) -> None:
        """The quick clean protocol with so many test cases."""
        text = PROTOCOL.read_text(encoding="utf-8")
        data = (PROTOCOL.parent / "../../../shared/data/hippocampus").resolve()
        text = text.replace('"../../../shared/data/hippocampus"', f'"{data.as_posix()}"')
        text = text.replace("\ntest_cases = 4\n", f"\ntest_cases = {cases}\n")
        if self.name == "0.1":
            text = text.replace("threshold_cases", "margin_cases").replace("regression_rates = []\n", "")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "protocol.toml").write_text(text, encoding="utf-8")

    def run(self) -> tuple[float, str]:
        """Seconds of one run of the command, and what it printed."""
        command = [self.checkout / ".venv/bin/context-propagation", "evaluate", "--quick"]
        command += ["--protocol", self.folder / "protocol.toml", "--work", self.folder / "work"]
        command += ["--output", self.folder / "output"]
        command += [] if self.jobs is None else ["--jobs", str(self.jobs)]
        start = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise SystemExit(f"version {self.name}: {run.stderr[-2000:]}")
        return time.perf_counter() - start, run.stdout

    def seconds(self) -> tuple[float, float]:
        """Of the testing, and of the command on an empty output folder less the command on the finished one."""
        shutil.rmtree(self.folder / "output", ignore_errors=True)
        whole, said = self.run()
        difference = whole - self.run()[0]
        stage = re.search(r"testing (\d+) s", said)
        return float(stage[1]) if stage else difference, difference


def main() -> None:
    """Print the seconds of each pair of runs and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="checkout of version 0.1 with a .venv")
    parser.add_argument("--work", type=Path, default=HERE / "output" / "testing-time")
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--jobs", type=int, help="processes; one per core by default")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    builds = [
        Build("0.1", arguments.against.resolve(), arguments.work.resolve() / "before", arguments.jobs),
        Build("this", HERE, arguments.work.resolve() / "now", arguments.jobs),
    ]
    print(
        f"seed 0; {arguments.cases} test cases, quick clean hippocampus; processes: {arguments.jobs or 'one per core'}"
    )
    for name, value in provenance().items():
        print(f"{name}: {value}")
    for build in builds:
        build.write_protocol(arguments.cases)
        build.seconds()  # trains what is missing
    ratios = []
    for _ in range(arguments.repeats):
        (before, _), (now, with_pictures) = (build.seconds() for build in builds)
        ratios.append(now / before)
        print(
            f"testing: version 0.1 {before:.1f} s, this {now:.0f} s, ratio {now / before:.2f}; "
            f"with its pictures {with_pictures:.1f} s, {with_pictures / before:.2f}",
            flush=True,
        )
    print(f"median ratio of testing {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
