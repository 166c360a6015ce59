"""`context-propagation benchmark`, small: every row is there, ratios are of this run, the JSON is what is printed."""

import json
import logging
import re

import pytest

from context_propagation.benchmark.report import report
from context_propagation.cli import benchmark

WINDOW = 16
ROWS = {
    ("torch", "forward pass"), ("torch", "prompt"), ("torch", "literal evaluation"), ("torch", "literal update"),
    ("this", "set_image"), ("this", "set_image again"), ("this", "edit 1"), ("this", "edit 1: update"),
    ("this", "edit 1: decode"), ("this", "edit 1: far decode"),
    ("this", "edit 1: fusion network"), ("this", "edit 1: rest"), ("this", "edit 1: evaluation"),
    ("this", "edit 1: write to MRML"),
    ("machine", "roofline of forward pass"), ("machine", "roofline of evaluation"),
}  # fmt: skip


class Measured:
    """A small run: what was printed, written, drawn and logged."""

    def __init__(self, folder) -> None:
        self.json, self.plot, self.work = folder / "cost.json", folder / "cost.png", folder / "work"
        self.printed = benchmark.run(
            device="cpu", sizes=(WINDOW,), levels=(1,), network=("plain",), repeats=1, json=self.json, plot=self.plot,
            work=self.work, first_channels=4, steps=60,
        )  # fmt: skip
        self.found = json.loads(self.json.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return Measured(tmp_path_factory.mktemp("benchmark"))


@pytest.mark.long
def test_each_row_is_there_with_its_median(measured):
    assert measured.found["failures"] == []
    assert {(row["build"], row["what"]) for row in measured.found["rows"]} == ROWS
    for row in measured.found["rows"]:
        assert row["seconds"] >= 0
        assert row["build"] == "machine" or row["seconds"] == pytest.approx(row["repeats"][0])


@pytest.mark.long
def test_memory_is_measured_where_a_process_is_alone_with_it(measured):
    peaks = {row["what"] for row in measured.found["rows"] if row["mib"] is not None}
    assert peaks == {"forward pass", "prompt", "literal evaluation", "set_image", "set_image again", "edit 1"}


@pytest.mark.long
def test_ratios_are_the_quotients_of_their_own_figures(measured):
    rows = {(row["build"], row["what"]): row for row in measured.found["rows"]}

    assert measured.found["ratios"]
    for ratio in measured.found["ratios"]:
        over, under = rows[tuple(ratio["over"])], rows[tuple(ratio["under"])]
        if over["counts"] and under["counts"]:
            assert ratio["value"] == over[ratio["quantity"]] / under[ratio["quantity"]]
        else:
            assert ratio["value"] is None


@pytest.mark.long
def test_what_is_written_is_what_is_printed(measured):
    assert measured.printed == report(measured.found)
    for words in ("seed: 0", "hardware: ", "commit: ", "window 16 x 16 x 16, blob 8 x 8 x 8", "measured rates: "):
        assert words in measured.printed


@pytest.mark.long
def test_the_edit_says_how_far_it_came(measured):
    (edit,) = [row for row in measured.found["rows"] if row["what"] == "edit 1"]

    said = re.search(r"(\d+) voxels differ, DSC ([\d.]+) -> ([\d.]+); (\d+) evaluations", edit["remarks"])
    assert said is not None
    differ, before, after, evaluations = map(float, said.groups())
    assert differ > 0
    assert before < after <= 1
    assert evaluations >= 1
    assert edit["counts"] == (after >= 0.95)


@pytest.mark.long
def test_a_picture_is_drawn(measured):
    assert measured.plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_a_trained_network_is_kept(measured, caplog):
    (kept,) = measured.work.iterdir()
    assert kept.name.startswith("plain-3-stages-")
    with caplog.at_level(logging.INFO):
        network = benchmark_network(measured.work)

    assert "training" not in caplog.text
    assert network is not None


def benchmark_network(work):
    from context_propagation.benchmark.target_training import trained_network

    return trained_network("plain", WINDOW, 4, 60, 0, work)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--sizes", "66"],
            "A window of 66 voxels is no multiple of 16, by which nnU-Net's network for it divides; give 80",
        ),
        (["--sizes", "4"], "A window of 4 voxels is too small; give at least 8"),
        (["--sizes", "64,big"], "The sizes '64,big' are not whole numbers with commas between them"),
        (["--sizes", "64", "--levels", "4"], "Decoder level 4 in a window of 64 voxels; choose from 1 to 3"),
        (["--network", "huge"], "There is no network 'huge' to measure; choose from plain, resenc"),
        (["--repeats", "0"], "0 repeats; give 1 to 100"),
        (["--edits", "6"], "6 edits; give 1 to 5"),
        (["--blobs", "60"], "The blob '60' is not three numbers from 4 to 96"),
        (["--ct", "512"], "The CT '512' is not three numbers from 16 to 2048"),
        (["--against", "nowhere"], "'nowhere' is no checkout of this package"),
        (["--json", "nowhere/cost.json"], "nowhere' does not exist; make it, or choose another place"),
        (["--plot", "nowhere/cost.png"], "nowhere' does not exist; make it, or choose another place"),
    ],
)
def test_what_cannot_be_measured_is_refused(refused, arguments, said):
    assert said in refused("benchmark", *arguments)
