"""CTs that structure sets are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ball_images import ball_mask


@pytest.fixture
def series(tmp_path):
    """Without contents."""
    return ct_series(tmp_path / "ct", np.zeros((6, 20, 26), np.int16))


@pytest.fixture
def ct_of_ball(tmp_path):
    noise = np.random.default_rng(0).normal(size=ball_mask().shape)
    return ct_series(tmp_path / "ct", (20 * noise + 100 * ball_mask()).round().astype(np.int16))


def ct_series(folder: Path, voxels: np.ndarray):
    pytest.importorskip("pydicom")
    from dicom_files import write_ct_series

    return write_ct_series(folder, voxels)
