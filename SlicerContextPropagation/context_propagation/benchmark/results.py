"""Rows and ratios: medians of what was timed, and quotients of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

LEAST_DSC = 0.95
"""Of the drawn slice, decoded from the updated features; an edit that does not reach it has not done the work."""


FORWARD, PROMPT, SET_IMAGE, AGAIN, EVALUATION = "forward pass", "prompt", "set_image", "set_image again", "evaluation"
BEYOND = "set_image beyond nnU-Net's own preprocessing, network and resampling"
LITERAL, LITERAL_UPDATE, DEEPER = "literal evaluation", "literal update", "update, twice as deep"
ROOFLINE = "roofline of "

Build = Literal["this", "against", "torch", "machine"]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        network: "plain", "resenc" or "demo bundle".
        window: Its size in words.
        blob: The blob's size in words; empty where it does not matter.
        level: Decoder level; None where it does not matter.
        build: Whose time it is: this checkout's, the other one's, plain torch's, or the machine's at best.
        what: What was timed.
        seconds: The median.
        mib: The highest peak of memory beyond the loaded network, in MiB; None where it was not measured.
        repeats: Seconds of each repeat.
        remarks: What else was found.
        counts: False for an edit that leaves the drawn slice below `LEAST_DSC`.
    """

    network: str
    window: str
    blob: str
    level: int | None
    build: Build
    what: str
    seconds: float
    mib: float | None = None
    repeats: tuple[float, ...] = ()
    remarks: str = ""
    counts: bool = True


@dataclass(frozen=True)
class Ratio:
    """One row's figure over another one's, both of one run.

    Attributes:
        network: Of both.
        window: Of both.
        blob: Of both.
        level: Of the two; None where neither has one.
        over: Build and what of the first.
        under: Of the second.
        quantity: "seconds" or "mib".
        value: None where an edit does not count.
    """

    network: str
    window: str
    blob: str
    level: int | None
    over: tuple[str, str]
    under: tuple[str, str]
    quantity: Literal["seconds", "mib"]
    value: float | None


@dataclass
class Results:
    """All of a run.

    Attributes:
        provenance: Seed, sizes, hardware, commits, versions.
        rates: What the machine can do: multiply-adds and bytes per second.
        rows: In the order in which they were measured.
        failures: What could not be measured, and why.
    """

    provenance: dict[str, str]
    rates: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As it is written; the report is made of this alone."""
        return {
            "provenance": self.provenance,
            "rates": self.rates,
            "rows": [asdict(row) for row in self.rows],
            "ratios": [asdict(ratio) for ratio in ratios(self.rows)],
            "failures": self.failures,
        }


def median_row(place: Row, found: Sequence[dict[str, Any]]) -> Row:
    """A row with the median of some measurements; "mib" is the highest.

    Args:
        place: The row without figures.
        found: Each with "seconds", perhaps with "mib".
    """
    seconds = tuple(one["seconds"] for one in found)
    peaks = [one["mib"] for one in found if "mib" in one]
    return replace(place, seconds=statistics.median(seconds), mib=max(peaks, default=None), repeats=seconds)


def forward_row(place: Row, steps: Sequence[dict[str, Any]]) -> Row:
    """The faster of torch's own way and the package's."""
    ways = [median_row(replace(place, what=FORWARD), [step[way] for step in steps]) for way in ("torch", "package")]
    fastest = min(ways, key=lambda row: row.seconds)
    return replace(fastest, remarks=f"torch {ways[0].seconds:.3g} s, package {ways[1].seconds:.3g} s")


def session_rows(place: Row, steps: Sequence[dict[str, Any]], least_dsc: float = LEAST_DSC) -> list[Row]:
    """Caching an image, then each edit: whole, by stage, and one evaluation of its update.

    Args:
        place: The row without figures.
        steps: What was timed.
        least_dsc: Of the drawn slice, for an edit to count.
    """
    images = [step["set_image"] for step in steps]
    rows = [median_row(replace(place, what=SET_IMAGE), images), *_stage_rows(place, SET_IMAGE, images)]
    if "prediction" in steps[-1]:
        said = steps[-1]["prediction"]
        rows[0] = replace(rows[0], remarks=f"predicted: DSC {said['dsc']:.3f} with the blob, {said['pieces']} piece(s)")
    if steps[0].get("again"):
        rows.append(median_row(replace(place, what=AGAIN), [step["again"] for step in steps]))
    if "beyond" in steps[0]:
        rows.append(median_row(replace(place, what=BEYOND), [step["beyond"] for step in steps]))
    for number in range(len(steps[0]["edits"])):
        rows += _edit_rows(place, f"edit {number + 1}", [step["edits"][number] for step in steps], least_dsc)
    return rows


def _edit_rows(place: Row, what: str, edits: Sequence[dict[str, Any]], least_dsc: float) -> list[Row]:
    last, worst = edits[-1], min(edit["dsc_after"] for edit in edits)
    remarks = (
        f"drawn slice: {last['drawn_voxels']} voxels differ, DSC {last['dsc_before']:.3f} -> {last['dsc_after']:.3f}; "
        f"{last['evaluations']} evaluations ({last['stop_reason']}), loss {last['loss_before']:.3f} -> "
        f"{last['loss_after']:.3f}; {last['near_voxels']} near and {last['far_voxels']} far voxels changed"
    )
    counts = worst >= least_dsc
    if not counts:
        remarks = f"DOES NOT COUNT: the drawn slice decodes with DSC {worst:.3f} only; {remarks}"
    whole = replace(median_row(replace(place, what=what), edits), remarks=remarks)
    each = [
        {"seconds": edit["stages"]["update"] / edit["evaluations"]}
        for edit in edits
        if edit["evaluations"] and "update" in edit["stages"]
    ]
    one = [median_row(replace(place, what=f"{what}: {EVALUATION}"), each)] if each else []
    return [replace(row, counts=counts) for row in (whole, *_stage_rows(place, what, edits), *one)]


def _stage_rows(place: Row, what: str, found: Sequence[dict[str, Any]]) -> list[Row]:
    """Each stage that was timed, in the order in which they came."""
    stages = dict.fromkeys(stage for one in found for stage in one.get("stages", ()))
    return [
        median_row(
            replace(place, what=f"{what}: {stage}"), [{"seconds": one["stages"].get(stage, 0.0)} for one in found]
        )
        for stage in stages
    ]


def literal_rows(place: Row, steps: Sequence[dict[str, Any]]) -> list[Row]:
    """The whole-window update: an evaluation, and all of it."""
    rows = [median_row(replace(place, what=LITERAL), [step["evaluation"] for step in steps])]
    for step in steps:
        if "update" in step:
            remarks = (
                f"{step['evaluations']} evaluations until the loss is as low as this engine's: "
                f"{step['loss_before']:.4f} -> {step['loss_after']:.4f}, DSC {step['dsc_after']:.3f}"
            )
            rows.append(replace(median_row(replace(place, what=LITERAL_UPDATE), [step["update"]]), remarks=remarks))
    return rows


# ---- ratios

PAIRS: tuple[tuple[tuple[str, str], tuple[str, str], Literal["seconds", "mib"]], ...] = (
    (("this", "edit 1"), ("torch", FORWARD), "seconds"),
    (("this", SET_IMAGE), ("torch", FORWARD), "seconds"),
    (("torch", LITERAL), ("torch", FORWARD), "seconds"),
    (("torch", LITERAL), ("this", f"edit 1: {EVALUATION}"), "seconds"),
    (("torch", LITERAL_UPDATE), ("this", "edit 1: update"), "seconds"),
    (("this", DEEPER), ("this", "edit 1: update"), "seconds"),
    (("torch", PROMPT), ("torch", FORWARD), "seconds"),
    (("this", "edit 1"), ("torch", PROMPT), "seconds"),
    (("against", "edit 1"), ("torch", FORWARD), "seconds"),
    (("against", "edit 1"), ("this", "edit 1"), "seconds"),
    (("against", "edit 1: update"), ("this", "edit 1: update"), "seconds"),
    (("against", SET_IMAGE), ("this", SET_IMAGE), "seconds"),
    (("against", BEYOND), ("this", BEYOND), "seconds"),
    (("torch", FORWARD), ("machine", ROOFLINE + FORWARD), "seconds"),
    (("this", f"edit 1: {EVALUATION}"), ("machine", ROOFLINE + EVALUATION), "seconds"),
    (("this", "edit 1"), ("torch", FORWARD), "mib"),
    (("this", SET_IMAGE), ("torch", FORWARD), "mib"),
)


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """All quotients of rows that were measured."""
    places = dict.fromkeys((row.network, row.window, row.blob) for row in rows)
    return [
        ratio for place in places for ratio in _ratios_of([r for r in rows if (r.network, r.window, r.blob) == place])
    ]


def _ratios_of(rows: Sequence[Row]) -> Iterable[Ratio]:
    levels = list(dict.fromkeys(row.level for row in rows if row.level is not None)) or [None]
    for level in levels:
        here = {(row.build, row.what): row for row in rows if row.level in (None, level)}
        for over, under, quantity in PAIRS:
            if over in here and under in here:
                ratio = _ratio(here[over], here[under], quantity)
                if ratio is not None and (level == levels[0] or ratio.level is not None):
                    yield ratio


def _ratio(over: Row, under: Row, quantity: Literal["seconds", "mib"]) -> Ratio | None:
    numerator, denominator = getattr(over, quantity), getattr(under, quantity)
    if numerator is None or not denominator:
        return None
    value = numerator / denominator if over.counts and under.counts else None
    level = under.level if over.level is None else over.level
    place = (over.network, over.window, over.blob, level)
    return Ratio(*place, (over.build, over.what), (under.build, under.what), quantity, value)
