"""The memory that a job is said to need: of the largest case or example, more where that is larger."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

from ball_images import SHAPE_KJI, ball_mask, sitk_image
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.fusion.fusion_jobs import NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.job_memory import (
    COPIES,
    EXAMPLES,
    PROCESS_BYTES,
    memory_of_a_job,
    memory_of_a_training,
)
from context_propagation.training.labelled_cases import LabelledCase, ModelSource


@pytest.fixture
def larger(tmp_path, files):
    """The test image, twice as high."""
    image, label = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"
    sitk.WriteImage(sitk_image(np.zeros((2 * SHAPE_KJI[0], *SHAPE_KJI[1:]), np.float32)), str(image))
    label_values = np.concatenate([ball_mask(), np.zeros(SHAPE_KJI, bool)]).astype(np.uint8)
    sitk.WriteImage(sitk_image(label_values), str(label))
    return LabelledCase("larger", (image,), label)


def test_the_largest_case_decides_by_its_image_and_by_what_its_cache_is_forecast_to_need(files, larger):
    base, settings = ModelSource(files.model, device="cpu"), SessionSettings()
    small = LabelledCase("small", (files.image,), files.edited)

    of_small, of_both = (memory_of_a_job(base, cases, settings) for cases in ([small], [small, larger]))

    voxels = int(np.prod(SHAPE_KJI))
    assert of_small > PROCESS_BYTES + COPIES * 4 * voxels
    assert of_both == memory_of_a_job(base, [larger], settings)
    assert of_both - of_small >= COPIES * 4 * voxels


def test_a_training_needs_more_for_larger_examples_and_for_more_edits_in_one(tmp_path, files):
    def forecast(*edits_and_sides):
        paths = [
            write_example(tmp_path / f"{edits}-{side}.safetensors", edits, side) for edits, side in edits_and_sides
        ]
        base = ModelSource(files.model, device="cpu")
        job = NetworkJob("n", base, 0, FusionSettings("paper", 4, 1.0), TrainingSettings(), tuple(paths), (), tmp_path)
        return memory_of_a_training([job])

    small, larger, of_edits = forecast((1, 8)), forecast((1, 8), (1, 16)), forecast((3, 16))

    assert PROCESS_BYTES < small < larger < of_edits
    assert larger - small == EXAMPLES * (size(tmp_path / "1-16.safetensors") - size(tmp_path / "1-8.safetensors"))
    assert of_edits - small == EXAMPLES * (3 * size(tmp_path / "3-16.safetensors") - size(tmp_path / "1-8.safetensors"))


def size(path):
    return path.stat().st_size


def write_example(path, edits, side):
    """What the forecast looks at."""
    save_file({"edit_maps": torch.zeros(edits, 2, side, side, side)}, path)
    return path
