"""What one confirmed slice beside one redrawn slice is worth, for a model's own folder with the general far network.

`python benchmarks/confirmed_slice.py [--cases N]`: the worst or the largest slice is redrawn from the truth, and the
slice that was predicted best, three slices away or more, is confirmed before. Four rows: the edit alone (the control),
with the confirmed slice left as it is (what the program does), with it taken as a second drawing that the features are
moved for, and with the far network believed only where it is surer than wherever it contradicts the confirmed slice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.core.bundle.general_file import load_general_far
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import edits_on_slices
from context_propagation.core.measures.accuracy import measure_scopes
from context_propagation.core.measures.regression import regressed_slices, slice_dsc
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.preview import Preview
from context_propagation.core.session.session import Session
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as, worst_slice
from hippocampus_cases import TEST_FOLD, data_folder, trained_model, unseen_cases
from provenance import provenance
from unseen_data_sets import hippocampi, phantoms

CASES, AXIS, AWAY = 24, 0, 3
ALONE, CONFIRMED = "edit alone", "one slice confirmed"
DRAWN, DOUBTED = "one slice taken as drawn", "network doubted by it"


def main() -> int:
    """Print the table; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES, help="of each data set (default 24)")
    arguments = parser.parse_args()
    try:
        folder = data_folder()
        model = NnunetModel.load(trained_model(folder))
        names = unseen_cases(folder, TEST_FOLD, arguments.cases)
    except UserInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shipped = NnunetModel.load(shipped_bundle() / "model")
    cases = chain(hippocampi(model, folder, names, 2), phantoms(shipped, range(arguments.cases), 2))
    lines = [line for case in tqdm(cases, total=4 * arguments.cases) for line in _lines(*case)]
    print(provenance(0, arguments.cases))
    print(table(pd.DataFrame(lines)))
    return 0


def _lines(data: str, case: str, session: Session, truth: np.ndarray) -> Iterator[dict[str, object]]:
    """A line for each pick and row."""
    before, spacing = session.segmentation, session.volume.spacing_kji_mm
    quality = slice_dsc(before, truth, AXIS)
    for pick, index in (("largest", largest_slice(truth, AXIS)), ("worst", worst_slice(before, truth, AXIS, spacing))):
        both = truth.any((1, 2)) & before.any((1, 2)) & (np.abs(np.arange(len(truth)) - index) >= AWAY)
        if not both.any():
            continue
        good = int(np.argmax(np.where(both, quality, -1)))
        edit, kept = redrawn_as(truth, AXIS, index), edits_on_slices(before, AXIS, [good])
        alone, confirmed, drawn = (session.restarted(session.settings, load_general_far()) for _ in range(3))
        confirmed.confirm(AXIS, [good])
        preview = confirmed.preview([edit])
        rows = {
            ALONE: alone.propagate([edit]).segmentation,
            CONFIRMED: preview.segmentation,
            DRAWN: drawn.propagate([edit, *kept]).segmentation,
            DOUBTED: doubted(preview, good),
        }
        for row, mask in rows.items():
            scopes = measure_scopes(mask, truth, spacing, AXIS, [index], session.settings.neighbours)
            counted = regressed_slices(before, mask, truth, AXIS, [s for s in range(len(mask)) if s != index])
            yield {
                "data": data, "pick": pick, "case": case, "row": row, "whole": scopes.whole.dsc, "far": scopes.far.dsc,
                "regressed": counted.regressed, "untouched": counted.untouched, "confirmed slice": quality[good],
            }  # fmt: skip


def doubted(preview: Preview, confirmed: int) -> np.ndarray:
    """The result where far voxels change only with larger margins than contradict the confirmed slice."""
    far, before, result = preview.record.far, preview.masks.segmentation, preview.segmentation
    if far is None or not far.box[AXIS][0] <= confirmed < far.box[AXIS][1]:
        return result
    margins, target = np.zeros(before.shape, np.float32), before[confirmed]
    margins[slices_of(far.box)] = np.nan_to_num(far.values)
    adds = margins[confirmed][~target].max(initial=0.0)
    removes = -margins[confirmed][target].min(initial=0.0)
    doubtful = (margins <= adds) & (margins >= -removes)
    doubtful[preview.record.near_indices(len(before))] = False
    return np.where(doubtful, before, result)


def table(lines: pd.DataFrame) -> str:
    """Means of each row, and what they differ from the edit alone by."""
    said = []
    for (data, pick), of_pick in lines.groupby(["data", "pick"], sort=False):
        wide = of_pick.pivot_table(index="case", columns="row", values=["whole", "far", "regressed"])
        quality = of_pick["confirmed slice"].mean()
        said.append(f"{data}, {pick} slice redrawn, {len(wide)} cases; DSC of the confirmed slice {quality:.3f}")
        for row in (ALONE, CONFIRMED, DRAWN, DOUBTED):
            of_row = of_pick[of_pick["row"] == row]
            worse = 100 * of_row["regressed"].sum() / of_row["untouched"].sum()
            text = (
                f"  {row:25s} whole {of_row['whole'].mean():.4f}, far {of_row['far'].mean():.4f}, worse {worse:.2f} %"
            )
            if row != ALONE:
                for measure in ("whole", "regressed"):
                    difference = wide[measure, row] - wide[measure, ALONE]
                    p = wilcoxon(difference).pvalue if difference.any() else 1.0
                    text += f"; {measure} {difference.mean():+.4f} a case, p {p:.2g}"
            said.append(text)
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
