"""All evaluated protocols side by side: the head of docs/results/README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from context_propagation.evaluation.regression_curve import CurvePoint, PooledPoint, pooled

ROWS = (
    "baseline",
    "paste",
    "update",
    "no-edit control",
    "fusion",
    "paper's fusion",
    "general",
    "calibration control",
)
COMPARED = "no-edit control"
COUNTED = ("fusion", "paper's fusion")


def glance(found: Mapping[str, Mapping[str, Any]], picks: Mapping[str, str]) -> list[str]:
    """Markdown lines: where each protocol's figures come from, then a table for each pick of the edited slice.

    found: what each protocol's summary.json holds, by the name of its folder. picks: what a pick is called, by its key.
    """
    lines = ["## At a glance", "", *table(_RUN, (_run(name, x) for name, x in found.items())), ""]
    for pick, title in picks.items():
        head = [title[:1].upper() + title[1:] + ", whole volume", *ROWS, f"p, fusion against {COMPARED}"]
        counted = [f"regressed: {row}" for row in COUNTED]
        lines += [*table([*head, *counted], (_line(name, x, pick) for name, x in found.items())), ""]
    return lines


def curves(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown lines: both picks' DSC, and slices made worse, with far thresholds chosen at several allowed rates.

    found: what each protocol's summary.json holds, by the name of its folder.
    """
    points = {
        name: {(point.row, point.allowed): point for point in _of_both_picks(x["curve"])} for name, x in found.items()
    }
    rates = sorted({rate for of_protocol in points.values() for _, rate in of_protocol})
    head = ["Both picks, whole volume; at most so many slices worse where far thresholds are chosen", "row"]
    lines = [
        [_link(name, found[name]), row, *(_point(of_protocol.get((row, rate))) for rate in rates)]
        for name, of_protocol in points.items()
        for row in dict.fromkeys(row for row, _ in of_protocol)
    ]
    return ["## DSC against regression rate", "", *table([*head, *map(percent, rates)], lines), ""]


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, a line for each of its lines."""
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body)]


def number(value: float | None) -> str:
    """A DSC as the page shows it; nothing where a row was not run."""
    return "" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share as the page shows it; nothing where a row was not run."""
    return "" if value is None else f"{value:.1%}"


_RUN = ["protocol", "tested cases", "slices that may be worse where far thresholds are chosen", "computed at commit"]


def _run(name: str, found: Mapping[str, Any]) -> list[str]:
    protocol = found["protocol"]
    cases = max(x["cases"] for x in found["summary"]["safety"])
    return [_link(name, found), str(cases), percent(protocol["allowed_regression"]), found["made"]["computed at"]]


def _line(name: str, found: Mapping[str, Any], pick: str) -> list[str]:
    here = {kind: list(_single(found, kind, pick)) for kind in ("measures", "comparisons", "safety")}
    dsc = {x["row"]: x["mean"] for x in here["measures"] if (x["measure"], x["scope"]) == ("dsc", "whole")}
    p = {(x["of"], x["row"]): x["p"] for x in here["comparisons"] if x["scope"] == "whole"}.get(("fusion", COMPARED))
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
