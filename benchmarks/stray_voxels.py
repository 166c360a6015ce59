"""What taking stray voxels back changes: islands, the seam, accuracy and regressions of one edit.

Phantoms that the shipped bundle never saw; the worst and the largest slice are redrawn from the truth, with the near
slices alone and with fusion, composed by Eq. 4 as it stands and without strays.
Run `python benchmarks/stray_voxels.py [cases]`
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.measures.accuracy import dice
from context_propagation.core.measures.appearance import new_islands, seam_mm2
from context_propagation.core.measures.regression import regressed_slices
from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from context_propagation.core.phantom.unseen_phantoms import FIRST_UNSEEN, UNSEEN
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from provenance import provenance

CASES = 60
AXIS = 0
EQ_4, TIDY = "Eq. 4", "without strays"


def main(cases: int = CASES) -> None:
    """Print a row for each pick, network and composition."""
    loaded = load_model(shipped_bundle())
    lines = pd.DataFrame([line for number in tqdm(range(cases)) for line in measured(loaded, FIRST_UNSEEN + number)])
    print(provenance(UNSEEN.seed, cases))
    keys = ["pick", "far slices", "composition"]
    table = lines.groupby(keys).agg(
        cases=("case", "size"),
        dsc=("dsc", "mean"),
        islands=("islands", "sum"),
        with_islands=("islands", lambda counts: int((counts > 0).sum())),
        seam_mm2=("seam_mm2", "mean"),
        regressed=("regressed", "sum"),
        untouched=("untouched", "sum"),
        drawn_exact=("drawn_exact", "sum"),
    )
    print(table.round(4).to_string())
    for key, rows in lines.groupby(keys[:2]):
        pair = rows.pivot_table(index="case", columns="composition", values="dsc")
        gain = pair[TIDY] - pair[EQ_4]
        p = wilcoxon(gain).pvalue if gain.any() else 1.0
        print(f"{', '.join(key)}: DSC {gain.mean():+.5f}, worst case {gain.min():+.4f}, p {p:.2g}")


def measured(loaded: LoadedModel, number: int) -> Iterator[dict[str, object]]:
    """The lines of one case."""
    phantom = make_phantom(PhantomSettings(UNSEEN.kind, seed=UNSEEN.seed, number=number))
    fused = loaded.session()
    volume = SourceVolume.from_sitk([phantom.image(phantom.ct)])
    fused.set_image(volume)
    before, truth, spacing = fused.segmentation, phantom.gtv, volume.spacing_kji_mm
    picks = {"worst": worst_slice(before, truth, AXIS, spacing), "largest": largest_slice(truth, AXIS)}
    for pick, index in picks.items():
        edit = redrawn_as(truth, AXIS, index)
        if np.array_equal(before, truth):
            continue
        pasted = before.copy()
        pasted[edit.place] = edit.mask
        for name, session in (("untouched", fused.restarted(fused.settings)), ("fusion", fused)):
            preview = session.preview([edit])
            for composition, tidy in ((EQ_4, False), (TIDY, True)):
                mask = replace(preview, tidy=tidy).segmentation
                counted = regressed_slices(before, mask, truth, AXIS, [s for s in range(len(mask)) if s != index])
                yield {
                    "case": number,
                    "pick": pick,
                    "far slices": name,
                    "composition": composition,
                    "dsc": dice(mask, truth),
                    "islands": new_islands(pasted, mask, AXIS, [index]),
                    "seam_mm2": seam_mm2(mask, truth, AXIS, index, session.settings.neighbours, spacing),
                    "regressed": counted.regressed,
                    "untouched": counted.untouched,
                    "drawn_exact": np.array_equal(mask[index], edit.mask),
                }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
