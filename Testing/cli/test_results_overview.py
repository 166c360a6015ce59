"""The page of results in the documentation is what its script makes of the results beside it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from results_overview import overview  # noqa: E402

RESULTS = ROOT / "docs" / "results"


def test_no_figure_on_the_page_of_results_is_typed():
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == overview(RESULTS)


def test_every_result_is_kept_with_its_cases_and_plots():
    for folder in [path.parent for path in RESULTS.glob("*/summary.json")]:
        for name in ("summary.md", "cases.csv", "rows.png"):
            assert (folder / name).is_file(), f"{folder / name}"
