"""How much one redrawn slice is worth, by who chose it: the worst, the largest, the middle, or the suggested one.

Phantoms that the shipped bundle never saw; each slice is redrawn from the truth.
Run `python benchmarks/slice_suggestion.py [cases]`
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.measures.accuracy import dice
from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from context_propagation.core.phantom.unseen_phantoms import FIRST_UNSEEN, UNSEEN
from context_propagation.core.session.slice_suggestion import suggested_slice
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from provenance import provenance

CASES = 12
AXIS = 0


def main(cases: int = CASES) -> None:
    """Print the mean whole-volume DSC after one edit of each choice."""
    loaded = load_model(shipped_bundle())
    rows = [row for number in tqdm(range(cases)) for row in measured(loaded, FIRST_UNSEEN + number)]
    table = pd.DataFrame(rows).pivot_table(index="case", columns="slice", values="dsc")
    print(provenance(UNSEEN.seed, cases))
    print(table.round(3).to_string())
    print(table.mean().round(3).to_string())
    for other in ("worst", "largest", "middle"):
        difference = table["suggested"] - table[other]
        p = wilcoxon(difference).pvalue if difference.any() else 1.0
        print(f"suggested - {other}: {difference.mean():+.3f}, p {p:.2g}")


def measured(loaded: LoadedModel, number: int) -> list[dict[str, object]]:
    """One case: the prediction, and the result of each choice."""
    phantom = make_phantom(PhantomSettings(UNSEEN.kind, seed=UNSEEN.seed, number=number))
    session = loaded.session()
    volume = SourceVolume.from_sitk([phantom.image(phantom.ct)])
    session.set_image(volume)
    predicted, truth = session.segmentation.copy(), phantom.gtv
    lines: list[dict[str, object]] = [{"case": number, "slice": "no edit", "dsc": dice(predicted, truth)}]
    drawn = np.flatnonzero(truth.any(axis=(1, 2)))
    chosen = {
        "worst": worst_slice(predicted, truth, AXIS, volume.spacing_kji_mm),
        "largest": largest_slice(truth, AXIS),
        "middle": int(drawn[drawn.size // 2]),
        "suggested": suggested_slice(session.slice_uncertainty_mm2(AXIS)),
    }
    for name, index in chosen.items():
        if index is not None:
            after = session.preview([redrawn_as(truth, AXIS, index)]).segmentation
            lines.append({"case": number, "slice": name, "dsc": dice(after, truth)})
    return lines


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CASES)
