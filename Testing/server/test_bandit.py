"""Bandit, which reads code for what is unsafe, finds nothing in server, client, page and what goes between them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("bandit")

PACKAGE = Path(__file__).parents[2] / "SlicerContextPropagation" / "context_propagation"


def found(*paths):
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_unsafe_is_found():
    done = found(*(PACKAGE / room for room in ("server", "remote", "page", "core/wire")))
    assert done.returncode == 0, done.stdout


def test_what_is_unsafe_is_found(tmp_path):
    (tmp_path / "open.py").write_text("import pickle\n\npickle.loads(b'')\n")
    assert "B301" in found(tmp_path / "open.py").stdout
