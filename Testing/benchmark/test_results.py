"""Rows, ratios and the report."""

import pytest

from context_propagation.benchmark.report import report
from context_propagation.benchmark.results import Results, Row, forward_row, literal_rows, ratios, session_rows

PLACE = Row("plain", "64 x 64 x 64", "30 x 32 x 32", 2, "this", "", 0.0)


def edit(seconds: float, dsc_after: float = 0.97, evaluations: int = 4) -> dict:
    return {
        "seconds": seconds,
        "mib": 100 * seconds,
        "stages": {"update": seconds / 2, "decode": seconds / 4, "fuse": seconds / 4, "rest": 0.0},
        "evaluations": evaluations,
        "loss_before": 0.5,
        "loss_after": 0.1,
        "stop_reason": "iterations",
        "index": 32,
        "dsc_before": 0.8,
        "dsc_after": dsc_after,
        "near_voxels": 7,
        "far_voxels": 8,
        "drawn_voxels": 9,
    }


def step(seconds: float, **changes) -> dict:
    prediction = {"dsc": 0.98, "pieces": 1}
    timed = {"seconds": seconds, "mib": 10.0}
    return {"set_image": timed, "again": {}, "prediction": prediction, "edits": [edit(seconds, **changes)]}


def forward(seconds: float) -> Row:
    return forward_row(Row("plain", PLACE.window, PLACE.blob, None, "torch", "", 0.0), [
        {"torch": {"seconds": 2 * seconds, "mib": 20.0}, "package": {"seconds": seconds, "mib": 25.0}}
    ])  # fmt: skip


def test_medians_of_the_repeats_and_the_highest_peak():
    rows = {row.what: row for row in session_rows(PLACE, [step(1.0), step(8.0), step(2.0)])}

    assert rows["edit 1"].seconds == 2.0
    assert rows["edit 1"].repeats == (1.0, 8.0, 2.0)
    assert rows["edit 1"].mib == 800.0
    assert rows["edit 1: update"].seconds == 1.0
    assert rows["edit 1: evaluation"].seconds == 0.25
    assert rows["set_image"].seconds == 2.0


def test_the_faster_forward_pass_counts():
    assert (forward(3.0).seconds, forward(3.0).mib) == (3.0, 25.0)


def test_a_ratio_is_the_quotient_of_two_rows_of_its_level():
    other_level = Row("plain", PLACE.window, PLACE.blob, 1, "this", "edit 1", 100.0)
    rows = [forward(4.0), *session_rows(PLACE, [step(2.0)]), other_level]

    found = {(one.level, one.over[1], one.under[1], one.quantity): one.value for one in ratios(rows)}

    assert found[2, "edit 1", "forward pass", "seconds"] == 0.5
    assert found[1, "edit 1", "forward pass", "seconds"] == 25.0
    assert found[2, "set_image", "forward pass", "mib"] == 0.4


def test_an_edit_that_does_not_reach_the_drawing_does_not_count():
    rows = [forward(4.0), *session_rows(PLACE, [step(2.0), step(2.0, dsc_after=0.94)])]

    (whole,) = [row for row in rows if row.what == "edit 1"]
    values = {one.over[1]: one.value for one in ratios(rows) if one.quantity == "seconds"}
    assert whole.remarks.startswith("DOES NOT COUNT: the drawn slice decodes with DSC 0.940 only")
    assert values == {"edit 1": None, "set_image": 0.5}


def test_the_literal_update_stands_beside_ours():
    literal = {"evaluation": {"seconds": 30.0, "mib": 1.0}, "evaluations": 5, "loss_before": 0.5, "loss_after": 0.1}
    steps = [{**literal, "update": {"seconds": 150.0}, "dsc_after": 0.97}]
    place = Row("plain", PLACE.window, PLACE.blob, 2, "torch", "", 0.0)
    rows = [*session_rows(PLACE, [step(2.0)]), *literal_rows(place, steps)]

    found = {(one.over[1], one.under[1]): one.value for one in ratios(rows)}

    assert found["literal evaluation", "edit 1: evaluation"] == 30.0 / 0.25
    assert found["literal update", "edit 1: update"] == 150.0


def test_the_report_says_what_could_not_be_measured():
    results = Results({"seed": "0"}, {"multiply_adds_32": 2e9, "bytes": 3e9}, [forward(4.0)], ["prompt: it died"])

    text = report(results.as_json())

    assert text.endswith("not measured: prompt: it died")
    assert "convolution 2 G multiply-adds/s (32 channels); copy 3 GB/s" in text
    assert "forward pass" in text


@pytest.mark.parametrize("evaluations", [0])
def test_an_edit_that_needed_no_evaluation_has_no_time_of_one(evaluations):
    rows = session_rows(PLACE, [step(1.0, evaluations=evaluations)])
    assert not [row for row in rows if row.what == "edit 1: evaluation"]


def test_an_edit_of_a_real_network_counts_however_far_it_comes():
    rows = session_rows(PLACE, [step(2.0, dsc_after=0.6)], least_dsc=0.0)
    assert all(row.counts for row in rows)


def test_caching_an_image_is_split_into_its_stages():
    timed = step(2.0)
    timed["set_image"]["stages"] = {"predict": 1.5, "encode": 0.5}

    rows = {row.what: row.seconds for row in session_rows(PLACE, [timed])}

    assert rows["set_image: predict"] == 1.5
    assert rows["set_image: encode"] == 0.5
