"""The main job on a real case, with the project's own commands: predict, redraw the worst slice, propagate, measure.

Trains a small nnU-Net on first use (minutes) and keeps it. Results go to `output/demo`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from context_propagation.cli.image_files import read_source_volume
from context_propagation.cli.main import main as context_propagation
from context_propagation.cli.measures import measure, near_slices
from context_propagation.cli.segmentation_files import Wanted, read_mask
from context_propagation.core.errors import UserInputError
from context_propagation.core.simulated_edit import redrawn_as, worst_slice
from hippocampus_cases import TEST_FOLD, WORK, Case, data_folder, read_case, trained_model, unseen_cases
from provenance import provenance

NEIGHBOURS = 2


def run(*arguments: str | Path) -> None:
    """Run a command of the project as a user would, and show it."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ context-propagation {shlex.join(words)}")
    code = context_propagation(words)
    if code:
        raise SystemExit(code)


def redraw_worst_slice(case: Case, initial: np.ndarray, path: Path) -> int:
    """Write the initial segmentation with its worst axial slice redrawn by the expert; the slice's index."""
    axis = case.volume.axis_of_plane("axial")
    index = worst_slice(initial, case.truth, axis, case.volume.spacing_kji_mm)
    edited = initial.copy()
    np.moveaxis(edited, axis, 0)[index] = redrawn_as(case.truth, axis, index).mask
    sitk.WriteImage(case.volume.mask_to_sitk(edited), str(path))
    return index


def print_table(case: Case, masks: dict[str, np.ndarray], index: int) -> None:
    """DSC and HD95 of each mask, whole volume and s +- 2."""
    axis, spacing = case.volume.axis_of_plane("axial"), case.volume.spacing_kji_mm
    truth_near = near_slices(case.truth, axis, index, NEIGHBOURS)
    print(f"\n{'':10} {'DSC whole':>10} {'DSC s±2':>10} {'HD95 whole':>12} {'HD95 s±2':>10}")
    for name, mask in masks.items():
        whole = measure(mask, case.truth, spacing)
        near = measure(near_slices(mask, axis, index, NEIGHBOURS), truth_near, spacing)
        print(f"{name:10} {whole.dsc:10.3f} {near.dsc:10.3f} {whole.hd95_mm:9.2f} mm {near.hd95_mm:7.2f} mm")


def main() -> int:
    """Run the demo; see the module's docstring."""
    try:
        folder = data_folder()
        model = trained_model(folder)
    except UserInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    case = read_case(folder, unseen_cases(folder, TEST_FOLD, 1)[0])
    output = WORK / "demo"
    output.mkdir(parents=True, exist_ok=True)
    image = folder / "images" / f"{case.name}.nii.gz"
    initial, edited = output / "initial.nii.gz", output / "edited.nii.gz"
    refined = output / "refined.seg.nrrd"
    run("predict", "--model", model, "--image", image, "--output", initial)
    volume = read_source_volume([image])
    target = Wanted("hippocampus", (1,))
    baseline = read_mask(initial, target, volume)
    index = redraw_worst_slice(case, baseline, edited)
    # fmt: off
    run("propagate", "--model", model, "--image", image, "--initial", initial, "--edited", edited, "--output", refined,
        "--report", output / "report.json", "--figure", output / "figure.png")
    # fmt: on
    masks = {
        "baseline": baseline,
        "paste": read_mask(edited, target, volume),
        "update": read_mask(refined, target, volume),
    }
    print(f"\n{case.name}, which the model never saw; axial slice {index} redrawn from the expert's contour")
    print_table(case, masks, index)
    print(f"\n{provenance(0, 1)}\nmodel {model}\nresults in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
