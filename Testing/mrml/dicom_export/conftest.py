"""A volume of a DICOM series on disk, and an empty segmentation of it."""

import pytest


@pytest.fixture
def exporting(make_case, tmp_path):
    from dicom_exports import Exporting  # not above: it needs pydicom

    return Exporting(make_case, tmp_path)
