"""All evaluated protocols side by side: the head of docs/results/README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from context_propagation.evaluation.regression_curve import CurvePoint, PooledPoint, pooled

ROWS = {
    "baseline": "baseline",
    "paste": "paste",
    "update": "update",
    "fusion": "fusion",
    "no-edit control": "its no-edit control",
    "paper's fusion": "paper's fusion",
    "paper's fusion, no-edit control": "its no-edit control",
    "general": "general",
    "general, no-edit control": "its no-edit control",
    "calibration control": "calibration control",
}
"""The rows that are shown, and their heads: a control stands after what it is the control of."""


COMPARED = ("fusion", "no-edit control")
"""Whose difference is tested."""


COUNTED = ("fusion", "paper's fusion")
"""Of which the share of slices made worse is shown."""


GLANCE = """## At a glance

DSC of the whole volume after one edited slice, by the row's name in [evaluation](../evaluation.md#rows). *p*: fusion
against its no-edit control, paired Wilcoxon over cases. *Allowed*: share of slices that may be worse on the cases on
which far thresholds are chosen.
"""


CURVES = """## DSC against regression rate

Each cell: DSC of the whole volume, mean over cases, and the share of slices made worse, both on the tested cases, both
picks of the edited slice together. Each column: the share allowed on the cases on which far thresholds are chosen. Rows
*with hindsight* choose them on the tested cases: a limit, no result.
"""


def glance(found: Mapping[str, Mapping[str, Any]], picks: Mapping[str, str]) -> list[str]:
    """Markdown lines: where each protocol's figures come from, then a table for each pick of the edited slice.

    Args:
        found: What each protocol's summary.json holds, by the name of its folder.
        picks: What a pick is called, by its key.
    """
    run = ["protocol", "tested cases", "allowed", "computed at commit"]
    lines = [GLANCE, *table(run, (_run(name, x) for name, x in found.items())), ""]
    for pick, title in picks.items():
        head = ["protocol", *ROWS.values(), "p", *(f"regressed: {row}" for row in COUNTED)]
        lines += [f"### {title[:1].upper()}{title[1:]}", ""]
        lines += [*table(head, (_line(name, x, pick) for name, x in found.items())), ""]
    return lines


def curves(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown lines: DSC and slices made worse, with far thresholds chosen at several allowed rates.

    Args:
        found: What each protocol's summary.json holds, by the name of its folder; one without a curve is left out.
    """
    points = {
        name: {(point.row, point.allowed): point for point in _of_both_picks(x["curve"])} for name, x in found.items()
    }
    rates = sorted({rate for of_protocol in points.values() for _, rate in of_protocol})
    lines = [
        [_link(name, found[name]), row, *(_point(of_protocol.get((row, rate))) for rate in rates)]
        for name, of_protocol in points.items()
        for row in dict.fromkeys(row for row, _ in of_protocol)
    ]
    return [CURVES, *table(["protocol", "row", *map(percent, rates)], lines), ""]


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, a line for each of its lines."""
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body)]


def number(value: float | None) -> str:
    """A DSC as the page shows it; nothing where a row was not run."""
    return "" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share as the page shows it; nothing where a row was not run."""
    return "" if value is None else f"{value:.1%}"


def _run(name: str, found: Mapping[str, Any]) -> list[str]:
    protocol = found["protocol"]
    cases = max((x["cases"] for x in found["summary"]["safety"]), default=0)
    return [_link(name, found), str(cases), percent(protocol["allowed_regression"]), found["made"]["computed at"]]


def _line(name: str, found: Mapping[str, Any], pick: str) -> list[str]:
    here = {kind: list(_single(found, kind, pick)) for kind in ("measures", "comparisons", "safety")}
    dsc = {x["row"]: x["mean"] for x in here["measures"] if (x["measure"], x["scope"]) == ("dsc", "whole")}
    p = {(x["of"], x["row"]): x["p"] for x in here["comparisons"] if x["scope"] == "whole"}.get(COMPARED)
    regressed = {x["row"]: x["regression_rate"] for x in here["safety"]}
    return [
        _link(name, found),
        *(number(dsc.get(row)) for row in ROWS),
        "" if p is None else f"{p:.1g}",
        *(percent(regressed.get(row)) for row in COUNTED),
    ]


def _of_both_picks(curve: Sequence[Mapping[str, Any]]) -> list[PooledPoint]:
    return [point for point in pooled([CurvePoint(**point) for point in curve]) if point.pick is None]


def _point(point: PooledPoint | None) -> str:
    return "" if point is None else f"{point.dsc:.4f}, {percent(point.rate)}"


def _single(found: Mapping[str, Any], kind: str, pick: str) -> Iterable[Mapping[str, Any]]:
    """What was found after one edit at the protocol's own decoder level."""
    level = found["protocol"]["level"]
    return (x for x in found["summary"][kind] if (x["pick"], x["level"], x["edits"]) == (pick, level, 1))


def _link(name: str, found: Mapping[str, Any]) -> str:
    return f"[{found['protocol']['name']}]({name}/summary.md)"
