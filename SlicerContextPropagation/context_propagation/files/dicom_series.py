"""The slices of a DICOM series as objects that other DICOM objects refer to."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.image_files import series_files
from context_propagation.files.native_messages import native_messages_hidden

if TYPE_CHECKING:
    from pydicom import Dataset


EXTRA = "dicom"


@dataclass(frozen=True)
class DicomSeries:
    """A series that was read as an image.

    Attributes:
        folder: Where it lies.
        slices: The headers, without voxels, in the order of the image's slices k.
    """

    folder: Path
    slices: tuple[Dataset, ...]

    @property
    def uid(self) -> str:
        return str(self.slices[0].SeriesInstanceUID)

    @property
    def frame_of_reference(self) -> str:
        """Empty where the series has none."""
        return str(self.slices[0].get("FrameOfReferenceUID", "") or "")


def dicom_folders(images: Sequence[Path]) -> list[Path]:
    """Those of an image's channels that are DICOM folders."""
    return [path for path in images if path.is_dir()]


def slice_files(folder: Path) -> list[Path]:
    """The files of the one series in a folder.

    Raises:
        UserInputError: The folder holds no series, or several.
    """
    with native_messages_hidden():
        return [Path(file) for file in series_files(folder)]


def read_series(folder: Path, volume: SourceVolume) -> DicomSeries:
    """Read the headers of the one series in a folder.

    Args:
        folder: A DICOM folder from which the image, or a channel of it, was read.
        volume: The image.

    Raises:
        UserInputError: A header is damaged, or the slices are not those of the image.
    """
    to_index = np.linalg.inv(volume.ijk_to_lps)
    of_slice: dict[int, Dataset] = {}
    with damage_named(f"DICOM folder '{folder}'"):
        for file in slice_files(folder):
            header = read_dicom(file, with_voxels=False)
            position = np.array([*header.ImagePositionPatient, 1], float)
            of_slice[round(float((to_index @ position)[2]))] = header
        if sorted(of_slice) != list(range(volume.shape_kji[0])):
            raise UserInputError(
                f"DICOM folder '{folder}' does not hold the {volume.shape_kji[0]} slices of the image, each once; "
                "export the series again"
            )
        return DicomSeries(folder, tuple(of_slice[k] for k in range(volume.shape_kji[0])))


def read_dicom(path: Path, with_voxels: bool = True) -> Dataset:
    """Read a DICOM file; within `damage_named`."""
    pydicom = require("pydicom", extra=EXTRA)
    return pydicom.dcmread(path, stop_before_pixels=not with_voxels)


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
