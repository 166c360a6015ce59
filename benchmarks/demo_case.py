"""Which unseen phantom `context-propagation demo` shows: the one whose far slices gain from the edit as the mean does.

The worst axial slice of each is redrawn from the truth. What counts is the DSC of the slices far from it, by the
shipped bundle's fusion network, or another's, less its no-edit control's: the edit's own part.
Run `python benchmarks/demo_case.py [cases [bundle]]`
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.cli.demo import demo_job
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.phantom.unseen_phantoms import FIRST_UNSEEN, UNSEEN
from context_propagation.evaluation.case_rows import evaluate_case
from context_propagation.training.phantom_cases import phantom_case
from provenance import provenance

CASES = 20


def main(cases: int = CASES, bundle: Path | None = None) -> None:
    """Print a line for each phantom, the means, and the choice."""
    lines, bundle = [], bundle or shipped_bundle()
    with tempfile.TemporaryDirectory() as folder:
        for number in tqdm(range(FIRST_UNSEEN, FIRST_UNSEEN + cases)):
            case = phantom_case(replace(UNSEEN, number=number), Path(folder), Path(folder) / "truth")
            found = [line for line in evaluate_case(demo_job(bundle, case)) if line.pick == "worst"]
            dsc = {(line.scope, line.row): line.dsc for line in found}
            if dsc:
                lines.append({"number": number, **{", ".join(key): value for key, value in dsc.items()}})
    table = pd.DataFrame(lines).set_index("number")
    rows = ("baseline", "paste", "update", "fusion", "no-edit control")
    shown = table[[f"{scope}, {row}" for scope in ("far", "whole") for row in rows]]
    gain = table["far, fusion"] - table["far, no-edit control"]
    print(provenance(UNSEEN.seed, cases))
    print(shown.assign(gain=gain).sort_values("gain").round(3).to_string())
    print(f"mean\n{shown.mean().round(4).to_string()}")
    print(f"the edit's own part, far slices: {gain.mean():+.4f}, p {wilcoxon(gain).pvalue:.2g}, {len(gain)} phantoms")
    print(f"nearest to the mean: {(gain - gain.mean()).abs().idxmin()}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *map(Path, sys.argv[2:3]))
