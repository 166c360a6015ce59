"""What the engine's shortcuts change on real cases: each edit is also done as the paper writes it.

`python benchmarks/shortcuts.py` edits the worst axial slice of unseen hippocampus cases twice: with the engine, and
with the oracle of `context_propagation/benchmark/literal.py`, which decodes the whole window at each evaluation by
torch's own modules and begins with LBFGS's own first step. Both have as many iterations, and both flip the voxels of
near slices that f' decodes otherwise than f (Eq. 4). The exit code is 1 where a loss or a gradient of the untouched
features differs by more than 1e-5 of its size, the mean DSC by more than .002, or a drawn slice is not exact.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from context_propagation import Session, SessionSettings, SliceEdit
from context_propagation.benchmark.literal import LiteralWindow, loss_box
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, box_of, inside_of, offset, slices_of
from context_propagation.core.image.slices import near_indices
from context_propagation.core.measures.accuracy import measure, near_slices
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.activation_update import segmentation_loss
from context_propagation.training.fusion.simulated_edit import redrawn_as, worst_slice
from hippocampus_cases import TEST_FOLD, Case, data_folder, read_case, trained_model, unseen_cases
from provenance import provenance

SEED, NEIGHBOURS = 0, 2
MOST_RELATIVE, MOST_DSC = 1e-5, 0.002


@dataclass(frozen=True)
class Compared:
    """One edit by the engine and by the oracle.

    Attributes:
        loss: How far apart the losses of the untouched features are, as a part of the oracle's.
        gradient: The largest difference of their gradients, as a part of the largest value of the oracle's.
        whole: DSC of the whole volume before the edit, after the engine's, after the oracle's.
        near: The same on the near slices.
        flipped: Voxels that differ between both results.
        exact: Whether the engine left the drawn slice as drawn.
        evaluations: The engine's and the oracle's.
    """

    loss: float
    gradient: float
    whole: tuple[float, float, float]
    near: tuple[float, float, float]
    flipped: int
    exact: bool
    evaluations: tuple[int, int]


class Pair:
    """The engine's session of a case, and the oracle's window of the same part of the image.

    Raises:
        UserInputError: The case is none of one window on the image's own grid, with axial slices along its first axis.
    """

    def __init__(self, folder: Path, model: NnunetModel, case: Case, level: int) -> None:
        self.case = case
        self.session = Session(model, SessionSettings(level=level, neighbours=NEIGHBOURS))
        self.session.set_image(case.volume)
        cache = self.session.cache
        self.grid, self.window = cache.prepared.grid, cache.windows[0]
        whole_grid = box_of([(0, n) for n in self.grid.network_shape])
        one_grid = self.grid.network_shape == cache.prepared.image_shape and self.grid.linear is None
        if len(cache.windows) > 1 or not one_grid or case.volume.axis_of_plane("axial") != 0:
            raise UserInputError(f"{case.name} has several windows, a grid of its own or other axes than the model")
        box = self.window.network_box
        beyond = [(-start, stop - n) for (start, stop), n in zip(box, self.grid.network_shape, strict=True)]
        padding = [voxels for sides in beyond[::-1] for voxels in sides]
        if min(padding) < 0:
            raise UserInputError(f"The window of {case.name} is smaller than the image")
        x = model.padding.around(cache.prepared.network_input, padding)[None]
        inside = slices_of(inside_of(whole_grid, box))
        self.literal = LiteralWindow(load_nnunet_folder(folder).networks[0], x, level, inside)

    def compared(self) -> Compared:
        """Edit the worst slice with both."""
        session, case = self.session, self.case
        before, spacing = session.segmentation, case.volume.spacing_kji_mm
        edit = redrawn_as(case.truth, 0, worst_slice(before, case.truth, 0, spacing))
        loss, gradient = self._differences(edit)
        result = session.propagate([edit])
        done = self.literal.update(edit.index, edit.mask)
        by_oracle = self._composed(before, edit, self.literal.predicted(done.f))
        three = (before, result.segmentation, by_oracle)
        truth_near = near_slices(case.truth, 0, edit.index, NEIGHBOURS)
        return Compared(
            loss,
            gradient,
            tuple(measure(mask, case.truth, spacing).dsc for mask in three),
            tuple(measure(near_slices(mask, 0, edit.index, NEIGHBOURS), truth_near, spacing).dsc for mask in three),
            int((result.segmentation != by_oracle).sum()),
            np.array_equal(result.segmentation[edit.index], edit.mask),
            (sum(report.evaluations for report in result.updates), len(done.losses)),
        )

    def _differences(self, edit: SliceEdit) -> tuple[float, float]:
        """Of loss and gradient of the untouched features, relative to the oracle's."""
        f = self.literal.f.clone().requires_grad_(True)
        wanted = self.literal.loss(f, edit.index, edit.mask)
        wanted.backward()
        place = loss_box(edit.mask | self.session.window_prediction[edit.index])
        box = box_of([(edit.index, edit.index + 1), *((span.start, span.stop) for span in place)])
        found, f_box, gradient = self._by_engine(edit, box)
        beyond = f.grad.clone()
        beyond[(..., *slices_of(f_box))] -= gradient
        return abs(found / float(wanted.detach()) - 1), float(beyond.abs().max() / f.grad.abs().max())

    def _by_engine(self, edit: SliceEdit, box: Box) -> tuple[float, Box, torch.Tensor]:
        """Loss, the box of f that it depends on, and its gradient there."""
        model, features = self.session.model, self.window.features[0]
        local = model.splits[0].local(features, inside_of(self.grid.support(box), self.window.network_box))
        f = features.f[(..., *slices_of(local.f_box))].clone().requires_grad_(True)
        origin = tuple(span[0] for span in offset(local.output_box, self.window.network_box))
        logit = model.target_logit(self.grid.to_image(local.run(f), origin, box)).flatten()
        drawn = torch.from_numpy(edit.mask[slices_of(box)[1:]]).flatten().to(logit)
        loss = segmentation_loss(logit, drawn, model.loss)
        loss.backward()
        return float(loss.detach()), local.f_box, f.grad

    def _composed(self, before: np.ndarray, edit: SliceEdit, updated: np.ndarray) -> np.ndarray:
        """Eq. 4 without fusion: the drawing, and on near slices what f' decodes otherwise than f."""
        result, flipped = before.copy(), updated != self.literal.predicted(self.literal.f)
        for index in near_indices([edit.index], NEIGHBOURS, before.shape[0]):
            result[index][flipped[index]] = updated[index][flipped[index]]
        result[edit.index] = edit.mask
        return result


def table(level: int, cases: list[Compared]) -> dict[str, object]:
    """A row: largest and mean differences of all cases."""
    whole, near = (np.array([getattr(one, scope) for one in cases]) for scope in ("whole", "near"))
    largest = (np.abs(dsc[:, 1] - dsc[:, 2]).max() for dsc in (whole, near))
    return {
        "level": level,
        "cases": len(cases),
        "loss, largest difference": f"{max(one.loss for one in cases):.1e}",
        "gradient": f"{max(one.gradient for one in cases):.1e}",
        **{
            f"DSC {name}": " / ".join(f"{value:.4f}" for value in dsc.mean(0))
            for name, dsc in (("whole", whole), ("s ± 2", near))
        },
        "largest of a case, whole / s ± 2": " / ".join(f"{value:.4f}" for value in largest),
        "voxels, median": statistics.median(one.flipped for one in cases),
        "drawn exactly": sum(one.exact for one in cases),
        "evaluations": " / ".join(f"{np.mean([one.evaluations[i] for one in cases]):.1f}" for i in (0, 1)),
    }


def holds(cases: list[Compared]) -> bool:
    """Whether the shortcuts change no more than they may."""
    means = [np.mean([getattr(one, scope)[1] - getattr(one, scope)[2] for one in cases]) for scope in ("whole", "near")]
    small = all(one.loss <= MOST_RELATIVE and one.gradient <= MOST_RELATIVE and one.exact for one in cases)
    return small and max(map(abs, means)) <= MOST_DSC


def main() -> int:
    """Print the table; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20, help="unseen cases (default 20)")
    parser.add_argument("--levels", default="1,2", help="decoder levels (default 1,2)")
    parser.add_argument("--model", type=Path, help="a trained nnU-Net folder in place of the one that is trained here")
    arguments = parser.parse_args()
    try:
        data = data_folder()
        folder = arguments.model or trained_model(data)
        model = NnunetModel.load(folder)
        cases = [read_case(data, name) for name in unseen_cases(data, TEST_FOLD, arguments.cases)]
        found = {
            level: [Pair(folder, model, case, level).compared() for case in tqdm(cases, desc=f"level {level}")]
            for level in map(int, arguments.levels.split(","))
        }
    except UserInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(provenance(SEED, len(cases)))
    print(f"model {model.content_hash[:12]}; DSC before / by the engine / by the oracle\n")
    print(pd.DataFrame([table(level, ones) for level, ones in found.items()]).T.to_string(header=False))
    return 0 if all(map(holds, found.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
