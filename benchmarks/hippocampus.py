"""One edit on unseen hippocampus cases: baseline, paste, update; and what each setting of the update does.

`python benchmarks/hippocampus.py` prints the table of the default settings; `--ablation` a row for each other setting.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.core.errors import UserInputError
from context_propagation.core.measures.accuracy import Measures, measure, near_slices
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from hippocampus_cases import TEST_FOLD, TUNING_FOLD, Case, data_folder, read_case, trained_model, unseen_cases
from provenance import provenance

SEED = 0
NEIGHBOURS = 2
ABLATION = {
    "LBFGS 10, proximal 0.3, frozen (default)": UpdateSettings(),
    "proximal 0": UpdateSettings(proximal_weight=0.0),
    "proximal 0.03": UpdateSettings(proximal_weight=0.03),
    "proximal 0.1": UpdateSettings(proximal_weight=0.1),
    "proximal 1": UpdateSettings(proximal_weight=1.0),
    "LBFGS 5": UpdateSettings(iterations=5),
    "LBFGS 20": UpdateSettings(iterations=20),
    "LBFGS 30, proximal 0": UpdateSettings(iterations=30, proximal_weight=0.0),
    "live statistics": UpdateSettings(frozen_statistics=False),
    "live statistics, LBFGS 30, proximal 0": UpdateSettings(
        frozen_statistics=False, iterations=30, proximal_weight=0.0
    ),
    "Dice alone": UpdateSettings(loss="dice"),
    "Adam 30, lr .05": UpdateSettings(optimizer="adam"),
}


@dataclass(frozen=True)
class Outcome:
    """One case: each row's measures on the whole volume and on s +- 2; far voxels changed; seconds."""

    whole: dict[str, Measures]
    near: dict[str, Measures]
    drawn_exact: bool
    seconds: float


def edit_case(session: Session, case: Case, pick: str) -> Outcome:
    """Simulate one edit of a session with its image set, measure, and take it back."""
    axis, spacing = case.volume.axis_of_plane("axial"), case.volume.spacing_kji_mm
    baseline = session.segmentation.copy()
    index = worst_slice(baseline, case.truth, axis, spacing) if pick == "worst" else largest_slice(case.truth, axis)
    edit = redrawn_as(case.truth, axis, index)
    pasted = baseline.copy()
    np.moveaxis(pasted, axis, 0)[index] = edit.mask
    start = time.perf_counter()
    result = session.propagate([edit])
    seconds = time.perf_counter() - start
    session.undo()
    rows = {"baseline": baseline, "paste": pasted, "update + paste": result.segmentation}
    truth_near = near_slices(case.truth, axis, index, NEIGHBOURS)
    return Outcome(
        {name: measure(mask, case.truth, spacing) for name, mask in rows.items()},
        {name: measure(near_slices(mask, axis, index, NEIGHBOURS), truth_near, spacing) for name, mask in rows.items()},
        np.array_equal(result.segmentation.take(index, axis), edit.mask),
        seconds,
    )


def table(outcomes: list[Outcome]) -> str:
    """Mean and standard deviation over cases, as Markdown."""
    lines = ["| | DSC whole | DSC s ± 2 | HD95 whole, mm | HD95 s ± 2, mm |", "|---|---|---|---|---|"]
    for row in outcomes[0].whole:
        cells = [
            _mean([getattr(getattr(outcome, scope)[row], name) for outcome in outcomes], digits)
            for name, digits in (("dsc", 3), ("hd95_mm", 2))
            for scope in ("whole", "near")
        ]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def findings(outcomes: list[Outcome]) -> str:
    """The differences that the acceptance asks for."""
    lines = []
    for scope, name in (("near", "s ± 2"), ("whole", "whole volume")):
        gains = [getattr(o, scope)["update + paste"].dsc - getattr(o, scope)["paste"].dsc for o in outcomes]
        p = wilcoxon(gains).pvalue if any(gains) else 1.0
        lines.append(
            f"update + paste over paste, {name}: mean {statistics.mean(gains):+.3f} DSC, "
            f"worst case {min(gains):+.3f}, paired Wilcoxon p = {p:.2g}"
        )
    lost = [o.whole["update + paste"].dsc - o.whole["baseline"].dsc for o in outcomes]
    lines.append(f"update + paste over baseline, whole volume: worst case {min(lost):+.3f} DSC")
    lines.append(f"drawn slices exact: {sum(o.drawn_exact for o in outcomes)} of {len(outcomes)}")
    lines.append(f"seconds per edit: median {statistics.median(o.seconds for o in outcomes):.2f}")
    return "\n".join(lines)


def ablation_row(name: str, outcomes: list[Outcome]) -> str:
    """One setting as a Markdown row."""
    update = "update + paste"
    gains = [o.near[update].dsc - o.near["paste"].dsc for o in outcomes]
    cells = [
        _mean([o.near[update].dsc for o in outcomes], 3),
        f"{statistics.mean(gains):+.3f}",
        f"{min(gains):+.3f}",
        _mean([o.whole[update].dsc for o in outcomes], 3),
        f"{statistics.median(o.seconds for o in outcomes):.2f}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _mean(values: list[float], digits: int) -> str:
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values) if len(values) > 1 else 0:.{digits}f}"


def run(
    model: NnunetModel, cases: list[Case], settings: dict[str, SessionSettings], pick: str
) -> dict[str, list[Outcome]]:
    """Every setting on every case; the image is encoded once per decoder level."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in settings}
    for case in tqdm(cases, desc="cases", unit="case"):
        sessions: dict[int, Session] = {}
        for name, setting in settings.items():
            if setting.level not in sessions:
                sessions[setting.level] = Session(model, setting)
                sessions[setting.level].set_image(case.volume)
            session = sessions[setting.level]
            session.settings = setting
            outcomes[name].append(edit_case(session, case, pick))
    return outcomes


def main() -> int:
    """Print the table; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20, help="unseen cases (default 20)")
    parser.add_argument("--tuning", action="store_true", help="cases to choose settings on, none of the test fold's")
    parser.add_argument("--pick", choices=["worst", "largest"], default="worst", help="the edited slice")
    parser.add_argument("--ablation", action="store_true", help="a row for each setting of the update")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    try:
        folder = data_folder()
        model = NnunetModel.load(trained_model(folder))
        fold = TUNING_FOLD if arguments.tuning else TEST_FOLD
        cases = [read_case(folder, name) for name in unseen_cases(folder, fold, arguments.cases)]
    except UserInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    settings = {"default": SessionSettings()}
    if arguments.ablation:
        settings = {name: SessionSettings(update=update) for name, update in ABLATION.items()}
        settings |= {f"decoder level {level}": SessionSettings(level=level) for level in (1, 3)}
    outcomes = run(model, cases, settings, arguments.pick)
    print(provenance(SEED, len(cases)))
    print(f"model {model.content_hash[:12]}, fold {fold}, edited slice: {arguments.pick}\n")
    first = next(iter(outcomes.values()))
    print(table(first), findings(first), sep="\n\n")
    if arguments.ablation:
        print(
            "\n| setting | DSC s ± 2 | over paste | worst case | DSC whole | s per edit |",
            "|---|---|---|---|---|---|",
            sep="\n",
        )
        for name, rows in outcomes.items():
            print(ablation_row(name, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
