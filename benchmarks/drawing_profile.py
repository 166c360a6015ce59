"""What it is worth to know how an observer drew in earlier cases, before the first edit and after it.

    python benchmarks/drawing_profile.py --work DIR [--cases N]

On the test fold 0 of hippocampus-observer, whose observers draw tight, as the expert did, or generous. What is kept of
a case is one number: by how many mm, within slices, the network's contour must move outwards to fit its drawn slice
best. The mean over an observer's earlier cases moves all contours of the next one before anything is drawn. Rows: no
profile; the same observer's after 1, 3 and 10 cases; another observer's after 3; an oracle that knows the observer's
mean over all other cases' whole truths. Then the largest slice is drawn and propagated by the update alone: the moved
contours stay where they fit the drawn slice better than the network's own do, and are dropped where they do not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm import tqdm

from context_propagation.core.image.contour_offset import best_offset_mm, contour_depth_mm, moved_outwards
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.measures.accuracy import dice
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.session.ready_image import ReadyImage, ready_image
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.data_sets import EvaluationData, evaluation_data
from context_propagation.evaluation.fold_cases import cases_of_fold
from context_propagation.evaluation.plan import read_plan
from context_propagation.evaluation.variants import STYLES, style_of
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.fusion.simulated_edit import largest_slice, redrawn_as
from context_propagation.training.labelled_cases import ModelSource
from provenance import provenance

PROTOCOL = Path(__file__).parent / "protocols" / "hippocampus-observer.toml"
DRAWS = 20
"""Of earlier cases, at random, for each number of them."""


@dataclass(frozen=True)
class Predicted:
    """A case, the network's contours, and what its drawn slice says.

    Attributes:
        style: Of its observer.
        model: The network.
        ready: The image, preprocessed.
        truth: bool `[K, J, I]`.
        axis: The drawn slice's.
        depth_mm: Signed distance to the network's contour within slices, positive inside.
        edit: The largest slice, drawn.
        offset_mm: Of the drawn slice.
        whole_offset_mm: Of the whole truth.
    """

    style: str
    model: SegmentationModel
    ready: ReadyImage
    truth: np.ndarray
    axis: int
    depth_mm: np.ndarray
    edit: SliceEdit
    offset_mm: float
    whole_offset_mm: float

    @classmethod
    def of(cls, name: str, data: EvaluationData, model: SegmentationModel) -> Predicted:
        """Predict a case."""
        volume, truth = data.test_case(name).read(model)
        ready, session = ready_image(model, volume), Session(model, SessionSettings())
        session.set_image(ready)
        axis = volume.axis_of_plane("axial")
        depth = contour_depth_mm(session.segmentation, axis, volume.spacing_kji_mm)
        edit = redrawn_as(truth, axis, largest_slice(truth, axis))
        of_slice = best_offset_mm(depth.take([edit.index], axis), truth.take([edit.index], axis))
        whole = best_offset_mm(depth, truth)
        return cls(style_of(name), model, ready, truth, axis, depth, edit, of_slice, whole)

    def moved(self, offset_mm: float) -> np.ndarray:
        """The network's contours, moved outwards."""
        return moved_outwards(self.depth_mm, offset_mm)

    def before_any_edit(self, offset_mm: float) -> float:
        """DSC of the moved contours."""
        return dice(self.moved(offset_mm), self.truth)

    def after_one_edit(self, offset_mm: float) -> float:
        """DSC once the slice is drawn; see the module."""
        session = Session(self.model, SessionSettings(start_offset_mm=offset_mm))
        session.set_image(self.ready)
        return dice(session.propagate([self.edit]).segmentation, self.truth)


def profiles(case: int, cases: Sequence[Predicted], generator: np.random.Generator) -> dict[str, list[float]]:
    """Offsets by each row of the table."""
    of_style = {
        style: [one for number, one in enumerate(cases) if one.style == style and number != case] for style in STYLES
    }
    same = of_style[cases[case].style]

    def learned(earlier: Sequence[Predicted], count: int) -> float:
        drawn = generator.choice(len(earlier), min(count, len(earlier)), replace=False)
        return float(np.mean([earlier[number].offset_mm for number in drawn]))

    rows = {"no profile": [0.0], "oracle": [float(np.mean([one.whole_offset_mm for one in same]))]}
    for count in (1, 3, 10):
        rows[f"same observer, {count} cases"] = [learned(same, count) for _ in range(DRAWS)]
    others = [earlier for style, earlier in of_style.items() if style != cases[case].style]
    rows["another observer, 3 cases"] = [learned(earlier, 3) for earlier in others for _ in range(DRAWS // 2)]
    return rows


def main() -> None:
    """Print both tables and the tests against no profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="for the base model; as evaluate's")
    parser.add_argument("--cases", type=int, default=20, help="tested; the threshold cases serve as earlier ones too")
    arguments = parser.parse_args()
    plan = read_plan(PROTOCOL)
    data = evaluation_data(plan, PROTOCOL, arguments.work)
    fold = cases_of_fold(data.folds, plan, 0)
    training = tuple(data.training_case(name) for name in fold.base)
    base = BaseTraining(plan.model, training, data.task, data.work / "base", plan.base_epochs, plan.seed)
    model = ModelSource(base.run(), device="cpu").load()
    tested = list(fold.test)[: arguments.cases]
    cases = [Predicted.of(name, data, model) for name in tqdm([*tested, *fold.thresholds], desc="predict")]
    generator, lines = np.random.default_rng(0), []
    for number, case in enumerate(tqdm(cases[: len(tested)], desc="profiles")):
        for row, offsets in profiles(number, cases, generator).items():
            before = float(np.mean([case.before_any_edit(offset) for offset in offsets]))
            after = float(np.mean([case.after_one_edit(offset) for offset in sorted(set(offsets))[::4]]))
            lines.append({"case": number, "row": row, "before": before, "after": after})
    print(provenance(0, len(tested)))
    frame = pd.DataFrame(lines)
    for when in ("before", "after"):
        table = frame.pivot_table(index="case", columns="row", values=when)
        print(f"\n{'before any edit' if when == 'before' else 'after the largest slice was drawn'}, mean DSC:")
        for row in dict.fromkeys(frame["row"]):
            difference = table[row] - table["no profile"]
            p = wilcoxon(difference).pvalue if difference.any() else 1.0
            print(f"{row:28s} {table[row].mean():.4f}  {difference.mean():+.4f}  p {p:.1g}")


if __name__ == "__main__":
    main()
