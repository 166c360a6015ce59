"""A small DICOM series, files of which are changed one way or another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.files.image_files import read_image

pydicom = pytest.importorskip("pydicom")
from dicom_files import save  # noqa: E402

SHAPE = (6, 8, 10)
VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def change(file: Path, **attributes: object) -> None:
    """Set attributes of a file; None removes one."""
    dataset = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    save(file, dataset, dataset.file_meta.TransferSyntaxUID)


def change_all(folder: Path, of: Callable[[int, pydicom.Dataset], dict[str, object]]) -> None:
    for number, file in enumerate(sorted(folder.glob("*.dcm"))):
        change(file, **of(number, pydicom.dcmread(file)))


def refusal(path: Path) -> str:
    with pytest.raises(UserInputError) as refused:
        read_image(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)
