"""`evaluate`: a protocol on small real trainings; every row, resumption, failures named, trainings shared."""

import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from context_propagation.cli.main import main
from context_propagation.core.bundle.bundle import fusion_of
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.trained_fusion import build_fusion_network
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.case_rows import evaluate_case
from context_propagation.evaluation.simulated_case import CaseJob, CaseSession, FusionRow
from context_propagation.training import processes
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from local_clusters import killed_in_the_middle, local_cluster
from small_protocols import PROTOCOL, assert_measured_alike, write_balls

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def no_data_variable():
    with pytest.MonkeyPatch.context() as change:
        change.delenv("CONTEXT_PROPAGATION_DATA", raising=False)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory, no_data_variable) -> Path:
    """Data, protocols, and one finished run in `out` with its trainings in `work`."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_balls(folder / "balls")
    for variant in ("clean", "shifted", "observer style"):
        (folder / f"{variant}.toml").write_text(PROTOCOL.format(variant=variant))
    assert main(command(folder, "clean", folder / "out")) == 0
    return folder


def command(place: Path, variant: str, output: Path) -> list[str]:
    words = ["evaluate", "--protocol", place / f"{variant}.toml", "--output", output, "--work", place / "work"]
    return [str(word) for word in [*words, "--jobs", 1, "--device", "cpu"]]


def networks(place: Path) -> dict[str, int]:
    """Each trained network's time of writing."""
    return {str(path): path.stat().st_mtime_ns for path in (place / "work").rglob("networks/*.safetensors")}


def test_every_row_is_measured_for_every_case_pick_and_scope(place):
    frame = pd.read_csv(place / "out" / "cases.csv")
    single = frame[frame["edits"] == 1]

    assert set(single["row"]) == {
        *("baseline", "paste", "update", "fusion", "no-edit control", "edit-as-input control"),
        *("paper's fusion", "paper's fusion, no-edit control", "calibration control"),
        *("general", "general, no-edit control"),
        *("contour interpolation ±5", "contour interpolation ±10"),
    }
    assert (single.groupby(["case", "pick", "row"])["scope"].nunique() == 3).all()
    assert set(single["case"]) == {"ball_000", "ball_001"}
    assert frame["drawn_exact"].all()


def test_edit_after_edit_is_measured_for_slices_chosen_in_three_ways_and_beside_what_the_same_slices_give(place):
    frame = pd.read_csv(place / "out" / "cases.csv")
    second = frame[(frame["edits"] == 2) & (frame["scope"] == "whole")]
    usual = {"paste", "update", "fusion", "contour interpolation, drawn slices"}

    rows = {pick: set(lines["row"]) for pick, lines in second.groupby("pick")}

    alone = {"fusion, one at a time, average", "fusion, one at a time, latest"}
    assert rows == {"worst": usual | alone, "largest": usual, "suggested": usual}
    figures = json.loads((place / "out" / "summary.json").read_text())["summary"]
    assert {(item["pick"], item["row"]) for item in figures["edit_curves"]} >= {
        ("suggested", "fusion"),
        ("largest", "paste"),
        ("worst", "contour interpolation, drawn slices"),
    }


def test_dsc_against_regression_is_tabled_and_drawn_for_ours_and_the_paper_s_at_every_allowed_rate(place):
    curve = json.loads((place / "out" / "summary.json").read_text())["curve"]

    points = {(point["row"], point["allowed"], point["pick"]) for point in curve}

    rows, rates, picks = ("fusion", "paper's fusion"), (0.005, 0.01, 0.02, 0.03, 0.05), ("worst", "largest")
    known = [*rows, *(f"{row}, with hindsight" for row in rows)]
    assert points == {(row, rate, pick) for row in known for rate in rates for pick in picks}
    assert "### DSC against regression rate" in (place / "out" / "summary.md").read_text(encoding="utf-8")
    assert (place / "out" / "regression.png").stat().st_size > 1000
    tested = pd.read_csv(place / "out" / "cases.csv")
    for row in rows:  # at the protocol's own rate the curve holds the table's figure
        of_row = tested[(tested["row"] == row) & (tested["edits"] == 1) & (tested["scope"] == "whole")]
        for pick in picks:
            (point,) = [p for p in curve if (p["row"], p["allowed"], p["pick"]) == (row, 0.02, pick)]
            assert point["dsc"] == pytest.approx(of_row[of_row["pick"] == pick]["dsc"].mean(), abs=1e-4)


def test_with_hindsight_the_dsc_of_both_picks_is_at_least_that_of_a_choice_that_keeps_to_the_rate(place):
    curve = json.loads((place / "out" / "summary.json").read_text())["curve"]
    for row, allowed in product(("fusion", "paper's fusion"), (0.005, 0.01, 0.02, 0.03, 0.05)):
        chosen, best = (
            [point for point in curve if (point["row"], point["allowed"]) == (name, allowed)]
            for name in (row, f"{row}, with hindsight")
        )
        rate = sum(point["regressed_slices"] / point["untouched_slices"] for point in chosen) / len(chosen)
        if rate <= allowed:
            assert sum(point["dsc"] for point in best) >= sum(point["dsc"] for point in chosen)


def test_the_summary_says_how_it_was_made(place):
    text = (place / "out" / "summary.md").read_text(encoding="utf-8")
    figures = json.loads((place / "out" / "summary.json").read_text())

    assert "evaluate --protocol clean.toml" in text
    assert "CPU cores" in text
    assert "seed 0" in text
    assert figures["protocol"]["name"] == "balls"
    for row in ("fusion", "paper's fusion"):
        assert set(figures["far_thresholds"][f"fold 0, level 2, {row}"]) == {
            "add", "remove", "fading_slices", "least_gain"
        }  # fmt: skip
    assert (place / "out" / "rows.png").stat().st_size > 1000
    assert (place / "out" / "edits.png").stat().st_size > 1000
    (picture,) = (place / "out").glob("typical-*.png")
    assert picture.stat().st_size > 1000
    assert f"{picture.name}: ball_00" in text


def test_what_is_finished_is_only_read_and_starts_no_process(place, monkeypatch):
    monkeypatch.setattr(processes, "_in_processes", lambda *_: pytest.fail("a process would have started"))
    two_processes = [*command(place, "clean", place / "out")[:-3], "2", "--device", "cpu"]

    assert main(two_processes) == 0


def test_a_protocol_trains_the_rows_that_it_names_with_the_network_that_it_names(place, tmp_path):
    text = PROTOCOL.format(variant="clean").replace('data = "balls"', f'data = "{(place / "balls").as_posix()}"')
    (tmp_path / "few.toml").write_text(text + 'rows = ["fusion"]\nfusion = "attention"\ncontour_styles = 1\n')

    assert main(command(tmp_path, "few", tmp_path / "out")) == 0

    frame = pd.read_csv(tmp_path / "out" / "cases.csv")
    single = set(frame[frame["edits"] == 1]["row"])
    assert single == {
        "baseline",
        "paste",
        "update",
        "fusion",
        "calibration control",
        "general",
        "general, no-edit control",
        "contour interpolation ±5",
        "contour interpolation ±10",
    }
    (weights,) = (tmp_path / "work").rglob("networks/*.safetensors")
    assert "query.weight" in load_file(weights)


def job_of(place: Path, thresholds: FarThresholds = FarThresholds()) -> CaseJob:
    """The evaluation's job of the first test case, read back from its files."""
    (level,) = (place / "work").glob("*/fold0/level2")
    (model,) = (place / "work").rglob("nnUNetTrainer__nnUNetPlans__3d_fullres")
    weights = level / "networks" / "fusion.fold0.safetensors"
    channels = load_file(weights)["output.weight"].shape[0]
    data = level.parent.parent / "data"
    case = LabelledCase("ball_000", (data / "images" / "ball_000.nii.gz",), data / "labels" / "ball_000.nii.gz")
    row = FusionRow("fusion", FusionSettings("adaptive", channels, 1.0), "edit", (weights,), thresholds)
    base = ModelSource(model, device="cpu")
    return CaseJob("0", base, case, SessionSettings(), (row,), interpolation=False)


@pytest.mark.parametrize("thresholds", [FarThresholds(), FarThresholds(0.4, 0.9)])
def test_the_fusion_row_is_what_a_session_gives_to_a_user(place, thresholds):
    job = job_of(place, thresholds)
    evaluation = CaseSession(job)
    edit = evaluation.edit("worst")
    network = build_fusion_network(job.rows[0].architecture)
    network.load_state_dict(load_file(job.rows[0].weights[0]))
    session = Session(job.base.load(), job.settings, fusion_of([network], 2, 2, thresholds))
    session.set_image(evaluation.volume)

    result = session.propagate([edit])

    (fusion,) = evaluation.fusions.values()
    assert np.array_equal(evaluation.preview(edit).fused_by(fusion).segmentation, result.segmentation)


def test_an_interrupted_run_computes_only_what_is_missing(place, run, tmp_path):
    copied = shutil.copytree(place / "out", tmp_path / "out")
    tested = copied / "cases" / "fold0-level2"
    ((first,), (second,)) = (tested.glob(f"ball_00{number}.*.json") for number in (0, 1))
    second.unlink()
    kept = first.stat().st_mtime_ns
    before, trained = pd.read_csv(copied / "cases.csv"), networks(place)

    result = run(*command(place, "clean", copied))

    assert result.code == 0
    took = {name.strip(): int(n) for name, n in re.findall(r"([a-z ]+) (\d+) s", result.out.partition("took: ")[2])}
    assert list(took) == [
        *("images", "base training", "examples", "fusion training", "far thresholds", "testing", "pictures"),
        "regression curve",
    ]
    assert took["base training"] == 0  # it was kept
    after = pd.read_csv(copied / "cases.csv")
    timed = ["seconds"]
    assert after.drop(columns=timed).equals(before.drop(columns=timed))
    assert first.stat().st_mtime_ns == kept
    assert second.is_file()
    assert networks(place) == trained


def test_a_shifted_protocol_uses_what_the_clean_one_trained(place, run, tmp_path):
    trained = networks(place)

    assert run(*command(place, "shifted", tmp_path / "out")).code == 0

    assert networks(place) == trained
    clean, shifted = pd.read_csv(place / "out" / "cases.csv"), pd.read_csv(tmp_path / "out" / "cases.csv")
    baselines = [f[f["row"] == "baseline"]["dsc"].tolist() for f in (clean, shifted)]
    assert baselines[0] != baselines[1]


def test_a_case_that_fails_is_named_and_counted(place, run, tmp_path):
    copied = shutil.copytree(place / "out", tmp_path / "out")
    shutil.rmtree(copied / "cases" / "fold0-level2")
    (data,) = (place / "work").glob("*/data")
    image = data / "images" / "ball_001.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    try:
        outcome = run(*command(place, "clean", copied))
    finally:
        image.write_bytes(whole)

    assert outcome.code != 0
    assert "1 cases FAILED" in outcome.err
    assert (copied / "cases.csv").is_file()
    assert "ball_001" in (copied / "summary.md").read_text(encoding="utf-8").split("ailed")[-1]


def test_a_failure_becomes_a_line_for_each_pick(place):
    from dataclasses import replace

    job = job_of(place)
    missing = replace(job, case=replace(job.case, images=(place / "nowhere.nii.gz",)))

    lines = evaluate_case(missing)

    assert [(line.pick, line.case) for line in lines] == [("worst", "ball_000"), ("largest", "ball_000")]
    assert all("nowhere.nii.gz" in line.error for line in lines)


def test_results_of_another_protocol_are_not_overwritten(place, run):
    outcome = run(*command(place, "shifted", place / "out"))

    assert outcome.code == 2
    assert "holds results of another protocol" in outcome.err


def test_missing_data_is_named(place, run, tmp_path):
    (tmp_path / "p.toml").write_text(PROTOCOL.format(variant="clean").replace('"balls"', '"elsewhere"'))

    outcome = run("evaluate", "--protocol", tmp_path / "p.toml", "--output", tmp_path / "out")

    assert outcome.code == 2
    assert "elsewhere" in outcome.err
    assert not (tmp_path / "out").exists()


# ---- elsewhere


def elsewhere(place, output, *options):
    """The command with a work folder of its own: all is trained anew."""
    words = ["evaluate", "--protocol", place / "clean.toml", "--output", output, "--work", output / "own work"]
    return [str(word) for word in [*words, "--device", "cpu", *options]]


def test_parts_of_an_array_and_a_call_that_gathers_give_every_figure_as_one_call(place, tmp_path, capsys):
    """In as many rounds as docs/cluster.md says, and no more."""
    said = []
    for _ in range(7):
        for part in (1, 2):
            assert main(elsewhere(place, tmp_path / "out", "--part", part, "--parts", 2, "--jobs", 1)) == 0
        said.append(capsys.readouterr().out.splitlines())

    assert [line.partition(";")[0] for line in said[-1]] == [
        "part 1 of 2: all jobs are done",
        "part 2 of 2: all jobs are done",
    ]
    assert not (tmp_path / "out" / "cases.csv").exists()
    assert main(elsewhere(place, tmp_path / "out")) == 0
    assert_measured_alike(tmp_path / "out", place / "out")


def test_a_quick_protocol_of_the_repository_on_a_cluster_with_a_worker_killed_measures_the_same_as_here(tmp_path, run):
    """All of it anew in either place, nnU-Net's training too; killed while edits are simulated."""
    pytest.importorskip("distributed")
    protocol = Path(__file__).parents[2] / "benchmarks" / "protocols" / "phantom-nasopharynx.toml"
    here, there = tmp_path / "here", tmp_path / "there"
    words = ["evaluate", "--protocol", protocol, "--quick", "--device", "cpu", "--output"]
    assert run(*words, here).code == 0

    with local_cluster(tmp_path) as cluster:
        with killed_in_the_middle(cluster, there):
            assert run(*words, there, "--scheduler-file", cluster.file).code == 0
        trained = networks(there)
        again = run(*words, there, "--scheduler-file", cluster.file)

    assert re.search(r"took: images 0 s, base training 0 s, examples 0 s, fusion training 0 s", again.out)
    assert networks(there) == trained
    assert_measured_alike(there, here)
