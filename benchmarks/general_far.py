"""What the general far network gains on far slices of models that it was not trained for, with its controls.

`python benchmarks/general_far.py [--cases N]` redraws the worst and the largest slice from the truth: on unseen
hippocampi as they are, in the style of an observer, and shifted (the protocols' variants), by a model trained on clean
ones; and on phantoms that the shipped bundle never saw. No weight but the base model's has seen a hippocampus.
`--skip` leaves cases out, so that a choice made on the first ones can be measured on others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.core.bundle.general_file import load_general_far
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.measures.accuracy import measure_scopes
from context_propagation.core.measures.appearance import new_islands
from context_propagation.core.measures.regression import regressed_slices
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.core.session.session import Session
from context_propagation.evaluation.calibration import calibrated
from context_propagation.evaluation.rows import CALIBRATION, GENERAL_PAIR
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from context_propagation.training.general.general_controls import shipped_pair
from hippocampus_cases import TEST_FOLD, data_folder, trained_model, unseen_cases
from provenance import provenance
from unseen_data_sets import hippocampi, phantoms

CASES, AXIS = 24, 0
GENERAL, CONTROL_ROW = GENERAL_PAIR
UNCORRECTED = "f' alone, same threshold"


def main() -> int:
    """Print the tables; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help="of each data set (default 24)")
    parser.add_argument("--skip", type=int, default=0, help="hippocampi to leave out, in name order")
    parser.add_argument("--level", type=int, default=2, help="decoder level (default 2)")
    parser.add_argument("--model", type=Path, help="a trained nnU-Net folder in place of the one that is trained here")
    arguments = parser.parse_args()
    try:
        folder = data_folder()
        model = NnunetModel.load(arguments.model or trained_model(folder))
        names = unseen_cases(folder, TEST_FOLD, arguments.skip + arguments.cases)[arguments.skip :]
    except UserInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    cases = chain(
        hippocampi(model, folder, names, arguments.level),
        phantoms(NnunetModel.load(shipped_bundle() / "model"), range(arguments.cases), arguments.level),
    )
    lines = [line for case in tqdm(cases, total=4 * arguments.cases) for line in _lines(*case)]
    print(provenance(0, arguments.cases))
    general = load_general_far()
    print(f"general {general.content_hash[:12]}, {general.far_thresholds}; model {model.content_hash[:12]}\n")
    print(tables(pd.DataFrame(lines)))
    return 0


def _lines(data: str, case: str, session: Session, truth: np.ndarray) -> Iterator[dict[str, object]]:
    """A line for each pick and row."""
    before, spacing = session.segmentation, session.volume.spacing_kji_mm
    if np.array_equal(before, truth):
        return
    for pick, index in (("largest", largest_slice(truth, AXIS)), ("worst", worst_slice(before, truth, AXIS, spacing))):
        edit = redrawn_as(truth, AXIS, index)
        preview, pasted = session.preview([edit]), before.copy()
        pasted[edit.place] = edit.mask
        general, blind = shipped_pair()
        uncorrected = replace(general, network=GeneralFarNetwork(1).eval())  # untrained, it corrects nothing
        rows = {
            "baseline": before,
            "paste": pasted,
            "update": preview.segmentation,
            GENERAL: preview.fused_by(general).segmentation,
            UNCORRECTED: preview.fused_by(uncorrected).segmentation,
            CONTROL_ROW: preview.fused_by(blind).segmentation,
            CALIBRATION: calibrated(preview),
        }
        for row, mask in rows.items():
            scopes = measure_scopes(mask, truth, spacing, AXIS, [index], session.settings.neighbours)
            counted = regressed_slices(before, mask, truth, AXIS, [s for s in range(len(mask)) if s != index])
            yield {
                "data": data, "pick": pick, "case": case, "row": row, "whole": scopes.whole.dsc, "far": scopes.far.dsc,
                "regressed": counted.regressed, "untouched": counted.untouched,
                "islands": 0 if row == "baseline" else new_islands(pasted, mask, AXIS, [index]),
                "exact": row == "baseline" or np.array_equal(mask[index], edit.mask),
            }  # fmt: skip


def tables(lines: pd.DataFrame) -> str:
    """Means of each row, and its far slices against the no-edit control and the baseline."""
    keys = ["data", "pick", "row"]
    grouped = lines.groupby(keys, sort=False)
    table = grouped.agg(
        cases=("case", "size"), whole=("whole", "mean"), far=("far", "mean"), islands=("islands", "sum"),
        exact=("exact", "mean"),
    )  # fmt: skip
    table["regressed, %"] = 100 * grouped["regressed"].sum() / grouped["untouched"].sum()
    said = [table.round(4).to_string(), ""]
    for key, of_key in lines.groupby(keys[:2], sort=False):
        wide = of_key.pivot_table(index="case", columns="row", values="far")
        for other in (CONTROL_ROW, "baseline", UNCORRECTED, CALIBRATION):
            gain = wide[GENERAL] - wide[other]
            p = wilcoxon(gain).pvalue if gain.any() else 1.0
            said.append(f"{', '.join(key)}: far slices, general - {other}: {gain.mean():+.4f}, p {p:.2g}")
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
