"""Processes that are timed: what they say when they fail, and that another checkout is really the one that is used."""

import shutil
from pathlib import Path

import pytest

from context_propagation.benchmark import children as children_of_runs
from context_propagation.benchmark.children import (
    OWN,
    ChildFailed,
    closing_all,
    network_child,
    package_folder,
    session_child,
)
from context_propagation.core import LARGE_PAGES
from context_propagation.core.errors import UserInputError

JOB = {"kind": "session", "device": "cpu", "model": "nowhere", "level": 1, "case": "nowhere.npz", "again": False}


@pytest.mark.long  # this checkout's imports torch; the other one's below fails before that, and says why too
def test_a_process_that_cannot_work_says_why():
    with closing_all() as children:
        children["session"] = session_child(JOB)
        with pytest.raises(ChildFailed, match=r"^UserInputError: .*'nowhere' does not exist"):
            children["session"].step()


def test_sessions_of_another_checkout_use_its_own_code(tmp_path):
    other = tmp_path / "checkout" / "SlicerContextPropagation" / "context_propagation"
    shutil.copytree(OWN / "context_propagation", other, ignore=shutil.ignore_patterns("__pycache__", "bundles"))
    said = 'raise RuntimeError("this is the other checkout")\n'
    (other / "core" / "model" / "model_kinds.py").write_text(said, encoding="utf-8")

    with closing_all() as children:
        children["against"] = session_child(JOB, package_folder(tmp_path / "checkout"))
        with pytest.raises(ChildFailed, match="this is the other checkout"):
            children["against"].step()


def test_another_checkout_gets_the_environment_as_the_user_has_it(tmp_path, monkeypatch):
    """What this version sets for itself would make the other one look as fast."""
    monkeypatch.setenv(LARGE_PAGES, "1")
    monkeypatch.setattr(children_of_runs, "SET_HERE", {LARGE_PAGES})
    other = tmp_path / "SlicerContextPropagation" / "context_propagation"
    (other / "benchmark").mkdir(parents=True)
    said = f'import os\nraise RuntimeError(f"pages: {{os.environ.get({LARGE_PAGES!r})}}")\n'
    (other / "__init__.py").write_text(said, encoding="utf-8")

    with closing_all() as children:
        children["against"] = session_child(JOB, other.parent)
        with pytest.raises(ChildFailed, match="pages: None"):
            children["against"].step()


def test_processes_end_with_the_block_also_by_ctrl_c():
    def interrupted() -> None:
        with closing_all() as children:
            children["forward"] = network_child({"kind": "forward"})
            started.append(children["forward"]._process)
            assert started[0].poll() is None
            raise KeyboardInterrupt

    started = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert started[0].poll() is not None


def test_a_folder_without_the_package_is_no_checkout(tmp_path):
    with pytest.raises(UserInputError, match=f"'{tmp_path}' is no checkout of this package"):
        package_folder(tmp_path)
    assert package_folder(Path(OWN).parent) == package_folder(OWN) == OWN
