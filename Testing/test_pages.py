"""All Python in README and docs/ runs as it stands, block after block of each page.

Two pages have tests of their own: test_console_page and test_cluster_page.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from context_propagation import load_model

ROOT = Path(__file__).parents[1]
IN_THE_APPLICATION, ON_A_CLUSTER = ROOT / "docs" / "console.md", ROOT / "docs" / "cluster.md"
AT_FULL_DEPTH = (ROOT / "docs" / "developer" / "design.md",)
"""Pages that `make test-long` runs: what they show takes seconds."""


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if blocks(page)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a page once; gives its names."""
    pytest.importorskip("nnunetv2")
    done = {}

    def run(page):
        if page not in done:
            done[page] = {"tmp": tmp_path_factory.mktemp("page")}
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(done[page]["tmp"])
                for code in blocks(page):
                    exec(compile(code, f"{page.name}", "exec"), done[page])
        return done[page]

    return run


def require_what_it_needs(page):
    for word, package in (("mrml", "slicer"), ("monai", "monai")):
        if word in "".join(blocks(page)):
            pytest.importorskip(package)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.long) if p in AT_FULL_DEPTH else p
        for p in PAGES
        if p not in (IN_THE_APPLICATION, ON_A_CLUSTER)
    ],
    ids=lambda p: p.name,
)
def test_the_code_of_a_page_runs_as_it_stands(page, run):
    require_what_it_needs(page)
    run(page)


@pytest.mark.parametrize("page", AT_FULL_DEPTH, ids=lambda p: p.name)
def test_what_a_page_imports_is_there(page):
    require_what_it_needs(page)
    for code in blocks(page):
        tree = ast.parse(code)
        tree.body = [line for line in tree.body if isinstance(line, (ast.Import, ast.ImportFrom))]
        exec(compile(tree, page.name, "exec"), {})


def test_the_examples_do_what_they_say(run):
    readme, bundle = run(ROOT / "README.md"), run(ROOT / "docs" / "bundle.md")

    assert np.array_equal(readme["result"].segmentation[24], readme["drawn"])
    assert readme["result"].scope == "whole volume (trained for this model)"
    assert load_model(bundle["tmp"] / "BUNDLE").fusion_sha256 == bundle["loaded"].fusion_sha256


def test_no_page_shows_python_that_is_not_marked_as_python():
    fences = {
        page: re.findall(r"```(\w*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        for page in ROOT.rglob("docs/**/*.md")
    }
    unmarked = [
        (page.name, text)
        for page, found in fences.items()
        for kind, text in found
        if kind != "python" and re.search(r"^(import|from) \w+", text, re.MULTILINE)
    ]

    assert len(fences) > 10
    assert unmarked == []
