"""Turn the mends of what a real Slicer refused back, one at a time, and say which tests notice.

    python Testing/examples/turn_mends_back.py          all of them
    python Testing/examples/turn_mends_back.py timer    one of them

It works on a copy. It fails where a mend is turned back and no test notices: then a stand-in is too lenient.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("SlicerContextPropagation", "Testing", "pyproject.toml")


@dataclass(frozen=True)
class Mend:
    """A file below SlicerContextPropagation, what it says now, what it said before, and where to look for it."""

    file: str
    now: str
    before: str
    tests: tuple[str, ...]


PREVIEW, PREVIEW_TESTS = "context_propagation/mrml/nodes/preview_node.py", "Testing/mrml/nodes/test_preview_node.py"
EFFECT_TESTS = "Testing/gui/effect/test_effect_preview.py"
MENDS = {
    "timer": Mend(
        "context_propagation/gui/work/timer.py",
        "self._timer.setSingleShot(once)",
        "self._timer.singleShot = once",
        ("Testing/gui/work/test_timer.py",),
    ),
    "order": Mend(
        "context_propagation/mrml/nodes/scenes.py",
        "    scene.RemoveNode(node)\n    if display is not None and display.GetScene() is not None:\n",
        "    if display is not None and display.GetScene() is not None:\n        scene.RemoveNode(display)\n"
        "    scene.RemoveNode(node)\n    if display is not None and display.GetScene() is not None:\n",
        (
            PREVIEW_TESTS,
            f"{EFFECT_TESTS}::test_discard_leaves_the_drawing_and_it_can_be_propagated_again",
        ),
    ),
    "entries": Mend(
        PREVIEW,
        'hierarchy.GetItemLevel(item) != "Folder" and',
        'hierarchy.GetItemLevel(item) != "Folder" and hierarchy.GetNumberOfItemChildren(item) == 0 and',
        (PREVIEW_TESTS,),
    ),
}


def failing_tests(mend):
    """The tests that fail with a mend turned back."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        changed = Path(folder, "SlicerContextPropagation", mend.file)
        text = changed.read_text("utf-8")
        if text.count(mend.now) != 1:
            raise ValueError(f"{mend.file} does not say {mend.now!r} once: bring this script in step")
        changed.write_text(text.replace(mend.now, mend.before), "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *mend.tests]
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    return re.findall(r"^FAILED (\S+)", told, re.MULTILINE)


def main(names):
    unnoticed = []
    for name in names or MENDS:
        failing = failing_tests(MENDS[name])
        print(f"{name} turned back:", *(failing or ["no test notices"]), sep="\n  ")
        unnoticed += [] if failing else [name]
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
