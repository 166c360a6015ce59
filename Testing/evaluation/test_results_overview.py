"""The page of results in the documentation is what its script makes of the results beside it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from results_glance import curves, glance  # noqa: E402
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


HERE = {"pick": "worst", "level": 2, "edits": 1}
ELSEWHERE = ({"pick": "largest"}, {"level": 1}, {"edits": 2})
"""Lines of another pick, level or number of edits, with figures that must not be shown."""


def summary(name: str, controlled: bool) -> dict:
    """What summary.json holds of a protocol at level 2: fusion, its control where it has one, and what is not shown."""
    rows = {"fusion": 0.61, **({"no-edit control": 0.54} if controlled else {})}
    dsc = [{**HERE, "scope": "whole", "row": row, "measure": "dsc", "mean": mean} for row, mean in rows.items()]
    p = [{**HERE, "scope": "whole", "of": "fusion", "row": row, "p": 0.0312} for row in rows if row != "fusion"]
    safety = [{**HERE, "row": "fusion", "cases": 12, "regression_rate": 0.0149}]
    dsc += [{**dsc[0], **other, "mean": 0.99} for other in (*ELSEWHERE, {"scope": "far"}, {"measure": "sensitivity"})]
    p += [{**one, **other, "p": 0.9} for one in p[:1] for other in (*ELSEWHERE, {"scope": "far"}, {"of": "update"})]
    safety += [{**safety[0], **other, "regression_rate": 0.9} for other in ELSEWHERE]
    return {
        "protocol": {"name": name, "level": 2, "allowed_regression": 0.05},
        "made": {"computed at": "0123abc"},
        "summary": {"measures": dsc, "comparisons": p, "safety": safety},
    }


def test_a_line_at_a_glance_holds_one_edit_at_the_protocols_own_level():
    lines = glance({"a": summary("organ, easy", controlled=True)}, {"worst": "worst slice edited"})

    assert lines[3] == "| [organ, easy](a/summary.md) | 12 | 5.0% | 0123abc |"
    assert lines[5] == "### Worst slice edited"
    assert lines[9] == "| [organ, easy](a/summary.md) |  |  |  | 0.610 | 0.540 |  |  |  |  |  | 0.03 | 1.5% |  |"


def test_a_protocol_whose_cases_all_failed_has_an_empty_line_at_a_glance():
    failed = summary("organ, easy", controlled=False)
    failed["summary"] = {"measures": [], "comparisons": [], "safety": []}

    lines = glance({"a": failed}, {"worst": "worst slice edited"})

    assert lines[3] == "| [organ, easy](a/summary.md) | 0 | 5.0% | 0123abc |"
    assert lines[9].replace(" ", "") == "|[organ,easy](a/summary.md)" + 14 * "|"


def point(row: str, allowed: float, pick: str, dsc: float, cases: int, regressed: int, untouched: int) -> dict:
    return {
        **{"fold": "0", "row": row, "allowed": allowed, "pick": pick, "add": 0.5, "remove": 0.5},
        **{"dsc": dsc, "cases": cases, "regressed_slices": regressed, "untouched_slices": untouched},
    }


def test_a_curve_holds_both_picks_each_case_and_slice_counting_once():
    points = [
        point("fusion", 0.01, "worst", 0.8, 1, 1, 20),
        point("fusion", 0.01, "largest", 0.5, 2, 0, 30),
        point("general", 0.02, "worst", 0.7, 1, 1, 10),
    ]

    lines = curves({"a": {**summary("organ, easy", controlled=True), "curve": points}})

    assert lines[1] == "| protocol | row | 1.0% | 2.0% |"
    assert lines[3:5] == [
        "| [organ, easy](a/summary.md) | fusion | 0.6000, 2.0% |  |",
        "| [organ, easy](a/summary.md) | general |  | 0.7000, 10.0% |",
    ]


def test_a_protocol_without_a_control_keeps_its_columns_at_a_glance():
    found = {"a": summary("organ, easy", controlled=False)}

    head, _, line = glance(found, {"worst": "worst slice edited"})[7:10]

    assert line.count("|") == head.count("|")
    assert line.endswith("| 0.610 |  |  |  |  |  |  |  | 1.5% |  |")
