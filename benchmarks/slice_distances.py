"""How fine the even slices of a CT with slices 3 and 5 mm apart should be: 3 mm, or 1 mm, on which all of them lie.

The change of distance is in the middle of the GTV. The worst slice of the prediction, of those that lie on both, is
redrawn from the truth and propagated by the shipped bundle; the DSC is that of the acquired slices.
Run `python benchmarks/slice_distances.py [cases]`
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation import LoadedModel, SliceEdit, SourceVolume, load_model, shipped_bundle
from context_propagation.core.image.even_slices import EvenSlices, even_slices
from context_propagation.core.measures.accuracy import dice
from context_propagation.core.phantom.phantom import make_phantom
from context_propagation.core.phantom.unseen_phantoms import FIRST_UNSEEN, UNSEEN
from provenance import provenance

CASES = 20
IN_PLANE_MM = 2.0


def main(cases: int = CASES) -> None:
    """Print a line for each phantom, the means, and the difference."""
    model, lines = load_model(shipped_bundle()), {}
    for number in tqdm(range(FIRST_UNSEEN, FIRST_UNSEEN + cases)):
        phantom = make_phantom(replace(UNSEEN, number=number, spacing_ijk_mm=(IN_PLANE_MM, IN_PLANE_MM, 1.0)))
        slices = np.flatnonzero(phantom.gtv.any(axis=(1, 2)))
        if slices.size:
            change = int(slices.mean()) // 3 * 3
            acquired = np.array([*range(0, change + 1, 3), *range(change + 5, len(phantom.gtv), 5)])
            lines[number] = compared(model, phantom.ct[acquired], phantom.gtv[acquired], acquired)
    table = pd.DataFrame(lines).T
    difference = table["3 mm, after"] - table["1 mm, after"]
    print(provenance(UNSEEN.seed, cases))
    print(table.round(3).to_string())
    print(f"mean\n{table.mean().round(4).to_string()}")
    print(f"3 mm less 1 mm: {difference.mean():+.4f}, p {wilcoxon(difference).pvalue:.2g}, {len(difference)} phantoms")


def compared(model: LoadedModel, ct: np.ndarray, truth: np.ndarray, acquired_mm: np.ndarray) -> dict[str, float]:
    """The DSC before, with the drawn slice alone and after the edit, and the seconds to cache the image, on both."""
    finest = even_slices("CT", acquired_mm)
    plans = {"3 mm": finest, "1 mm": EvenSlices(acquired_mm.astype(float), 1.0, acquired_mm, 0.0)}
    on_both, drawn, found = np.sort(finest.as_acquired[finest.as_acquired >= 0]), None, {}
    for name, plan in plans.items():
        session, start = model.session(), time.perf_counter()
        matrix = np.diag([IN_PLANE_MM, IN_PLANE_MM, plan.step_mm, 1.0])
        session.set_image(SourceVolume(plan.image(ct)[None], matrix))
        seconds = time.perf_counter() - start
        before = plan.back(session.segmentation)
        if drawn is None:
            drawn = int(on_both[np.argmax((before ^ truth)[on_both].sum(axis=(1, 2)))])
        result = session.propagate([SliceEdit(0, int(plan.own[drawn]), truth[drawn])])
        pasted = before.copy()
        pasted[drawn] = truth[drawn]
        for what, mask in (
            ("before", before),
            ("drawn slice alone", pasted),
            ("after", plan.back(result.segmentation)),
        ):
            found[f"{name}, {what}"] = dice(mask, truth)
        found[f"{name}, seconds"] = seconds
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
