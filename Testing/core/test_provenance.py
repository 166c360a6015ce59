"""What a figure says that it was measured with."""

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import torch

from context_propagation.core import provenance as provenance_module
from context_propagation.core.provenance import commit, provenance

CHECKOUT = Path(__file__).parents[2]


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no git checkout: {done.stderr.strip()}")
    return done.stdout.strip()


def test_the_commit_is_the_checkout_s():
    head = git("rev-parse", "HEAD")
    found = commit().removesuffix("-dirty").rpartition("-g")[2]
    assert head.startswith(found) or found in git("tag", "--points-at", "HEAD").split()
    assert found


def test_a_changed_file_makes_the_commit_dirty():
    changed = bool(git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no"))
    assert commit().endswith("-dirty") == changed


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert commit() == "unknown"


def test_a_package_installed_in_somebody_s_project_is_not_at_its_commit(monkeypatch, tmp_path):
    git("--version")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init"], [*identity, "commit", "--allow-empty", "-m", "theirs"]):
        subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, check=True)
    installed = tmp_path / ".venv" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    monkeypatch.setattr(provenance_module, "__file__", str(installed))
    assert commit() == "unknown"


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == "unknown"


def test_provenance_names_hardware_commit_and_versions():
    found = provenance()
    assert list(found) == ["hardware", "commit", "versions"]
    assert found["commit"] == commit()
    for part in (platform.machine(), f"{os.cpu_count()} CPU cores", f"{torch.get_num_threads()} torch threads"):
        assert part in found["hardware"]
    assert f"{psutil.virtual_memory().total / 2**30:.1f} GiB RAM" in found["hardware"]
    if Path("/proc/cpuinfo").is_file() and "model name" in Path("/proc/cpuinfo").read_text():
        assert re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)[1] in found["hardware"]
    assert found["hardware"].endswith("no GPU") != torch.cuda.is_available()
    for package in ("torch", "numpy", "SimpleITK"):
        assert f"{package} {version(package)}" in found["versions"]
    assert f"python {platform.python_version()}" in found["versions"]


def test_without_psutil_the_memory_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert "unknown RAM" in provenance()["hardware"]


def test_provenance_can_be_written_as_json():
    assert json.loads(json.dumps(provenance())) == provenance()
