"""The page of results in the documentation is what its script makes of the results beside it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from results_overview import _parts, overview  # noqa: E402

RESULTS = ROOT / "docs" / "results"


def test_no_figure_on_the_page_of_results_is_typed():
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == overview(RESULTS)


def test_every_result_is_kept_with_its_cases_and_plots():
    for folder in [path.parent for path in RESULTS.glob("*/summary.json")]:
        for name in ("summary.md", "cases.csv", "rows.png"):
            assert (folder / name).is_file(), f"{folder / name}"


def test_the_gain_is_the_sum_of_its_parts():
    means = {"baseline": 0.5, "update": 0.53, "no-edit control": 0.54, "fusion": 0.6}
    measures = [
        {"measure": "dsc", "level": 2, "scope": "whole", "pick": "worst", "row": row, "mean": mean}
        for row, mean in means.items()
    ]

    (line, _) = _parts({"measures": measures}, 2)

    assert "fusion − baseline +0.100" in line
    assert line.endswith(
        "(update − baseline) +0.030, training that sees no edit (control − update) +0.010, "
        "the edit in far slices (fusion − control) +0.060"
    )
