"""The memory that a job is said to need: of the largest case, more where its image is larger."""

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import SHAPE_KJI, ball_mask, sitk_image
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.job_memory import COPIES, PROCESS_BYTES, memory_of_a_job
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
