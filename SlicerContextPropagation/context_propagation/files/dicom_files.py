"""One DICOM file through pydicom, and what is said of a damaged one."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

if TYPE_CHECKING:
    from pydicom import Dataset


EXTRA = "dicom"


PREAMBLE, MAGIC = 128, b"DICM"


FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""How a file begins that has no preamble, as Elekta XiO and Monaco export it: with file meta, or with the data set."""


def has_dicom_content(path: Path) -> bool:
    """Whether a file's first bytes are those of a DICOM object, with or without preamble."""
    with path.open("rb") as file:
        start = file.read(PREAMBLE + len(MAGIC))
    bare = start[:2] in FIRST_GROUPS and start[3:4] == b"\0" and start[2:4] != b"\0\0"
    return start[PREAMBLE:] == MAGIC or bare


def read_dicom(path: Path, with_voxels: bool = True) -> Dataset:
    """Read a DICOM file, also one without preamble; within `damage_named`."""
    pydicom = require("pydicom", extra=EXTRA)
    dataset = pydicom.dcmread(path, stop_before_pixels=not with_voxels, force=True)
    if "SOPClassUID" not in dataset:
        raise require("pydicom.errors", extra=EXTRA).InvalidDicomError(str(path))
    return dataset


def sop_class(path: Path) -> str:
    """What a DICOM object says that it is; empty for any other file."""
    if not has_dicom_content(path):
        return ""
    try:
        with damage_named(f"'{path}'"):
            return str(read_dicom(path, with_voxels=False).SOPClassUID)
    except UserInputError:
        return ""  # whoever reads it says what is wrong


@contextmanager
def damage_named(what: str) -> Iterator[None]:
    """Tell in one sentence of a DICOM object that lacks something or cannot be parsed; pydicom warns of nothing.

    Raises:
        UserInputError: `what` starts the message.
    """
    errors = require("pydicom.errors", extra=EXTRA)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserInputError:
        raise
    except errors.InvalidDicomError as error:
        raise UserInputError(f"{what} is not a DICOM file; export it again") from error
    except (
        *(AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OSError, OverflowError),
        *(RecursionError, TypeError, ValueError, struct.error, zlib.error, errors.BytesLengthException),
    ) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserInputError(f"{what} is incomplete or damaged ({reason}); export it again") from error
