"""A protocol on noisy balls that is trained and tested within seconds; and what an evaluation measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from ball_images import SHAPE_KJI, ball_mask, sitk_image

PROTOCOL = """
name = "balls"
data = "balls"
variant = "{variant}"
test_folds = [0]
base_cases = 2
base_epochs = 2
fusion_cases = 2
validation_cases = 1
threshold_cases = 1
test_cases = 2
other_levels = []
epochs = 1
width = 1.0
paper_width = 1.0
augmented_copies = 0
edits = 2
several_edits_cases = 1
"""


def write_balls(folder: Path) -> None:
    """Two test cases and six others; the balls differ in place and brightness."""
    folds = {}
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(8):
        generator = np.random.default_rng(number)
        ball = np.roll(ball_mask(), generator.integers(-2, 3, size=3), axis=(0, 1, 2))
        image = (ball * generator.uniform(0.7, 1.3) + generator.normal(0, 0.4, SHAPE_KJI)).astype(np.float32)
        name = f"ball_{number:03d}"
        sitk.WriteImage(sitk_image(image), str(folder / "images" / f"{name}.nii.gz"))
        sitk.WriteImage(sitk_image(ball.astype(np.uint8)), str(folder / "labels" / f"{name}.nii.gz"))
        folds[name] = 0 if number < 2 else 1
    (folder / "folds.json").write_text(json.dumps({"folds": folds}))


def measured(output: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """All that tables and summary say, but how and where it was made, and how long it took."""
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    del summary["made"]
    return pd.read_csv(output / "cases.csv").drop(columns="seconds"), _without_seconds(summary)


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_seconds(item) for name, item in value.items() if name != "median_seconds"}
    return [_without_seconds(item) for item in value] if isinstance(value, list) else value


def assert_measured_alike(one: Path, other: Path) -> None:
    """Every figure of two folders of results is the same, to the last bit."""
    (lines, summary), (other_lines, other_summary) = measured(one), measured(other)
    pd.testing.assert_frame_equal(lines, other_lines, check_exact=True)
    assert summary == other_summary
