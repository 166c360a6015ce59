"""The slices of a DICOM series as objects that other DICOM objects refer to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import EvenSlices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_files import EXTRA, damage_named, read_dicom
from context_propagation.files.dicom_headers import frame_headers, series_files
from context_propagation.files.native_messages import native_messages_hidden

if TYPE_CHECKING:
    from pydicom import Dataset


DICOM_SEG = ".seg.dcm"


@dataclass(frozen=True)
class DicomSeries:
    """A series that was read as an image.

    Attributes:
        folder: Where it lies.
        slices: The headers, without voxels, in the order of the image's slices k.
        places: Where each lies along k, in slices of the image: on them, but for an image that was made even.
    """

    folder: Path
    slices: tuple[Dataset, ...]
    places: tuple[float, ...]

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


def folders_for(path: Path, images: Sequence[Path]) -> list[Path]:
    """The DICOM folders of an image, for a file that lies on the slices of one.

    Raises:
        UserInputError: No channel is one.
    """
    folders = dicom_folders(images)
    if not folders:
        seg = path.name.lower().endswith(DICOM_SEG)
        what = "a DICOM segmentation, whose frames" if seg else "an RT Structure Set, whose contours"
        raise UserInputError(
            f"'{path}' is {what} lie on the slices of a DICOM series: give that series' folder as --image, or use "
            ".seg.nrrd or .nii.gz"
        )
    return folders


def framed_folder(path: Path, images: Sequence[Path]) -> Path:
    """The first DICOM folder of an image that a new file can be tied to.

    Raises:
        UserInputError: No channel is a DICOM folder, or none has a frame of reference.
    """
    folders = folders_for(path, images)
    for folder in folders:
        with damage_named(f"DICOM folder '{folder}'"):
            if read_dicom(slice_files(folder)[0], with_voxels=False).get("FrameOfReferenceUID"):
                return folder
    raise no_frame(folders[0], path)


def no_frame(folder: Path, path: Path) -> UserInputError:
    """What is said of a series without frame of reference."""
    return UserInputError(
        f"DICOM folder '{folder}' has no frame of reference, so that '{path.name}' could not be tied to it; "
        "export the series again, or write .seg.nrrd or .nii.gz"
    )


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
    with damage_named(f"DICOM folder '{folder}'"):
        return series_of_files(folder, slice_files(folder), volume)


def series_of_files(folder: Path, files: Sequence[Path], volume: SourceVolume) -> DicomSeries:
    """As `read_series`, where the files of the series are known; the folder may hold others beside them."""
    return _series_at(folder, files, volume, np.arange(volume.shape_kji[0]))


def read_acquired_series(folder: Path, volume: SourceVolume, even: EvenSlices) -> DicomSeries:
    """As `read_series`, of an image that was made even of the slices in a folder.

    Args:
        folder: A DICOM folder.
        volume: The image on the even stack.
        even: How it was made.

    Raises:
        UserInputError: As `read_series`.
    """
    with damage_named(f"DICOM folder '{folder}'"):
        return acquired_series_of_files(folder, slice_files(folder), volume, even)


def acquired_series_of_files(
    folder: Path, files: Sequence[Path], volume: SourceVolume, even: EvenSlices
) -> DicomSeries:
    """As `read_acquired_series`, where the files of the series are known."""
    return _series_at(folder, files, volume, even.acquired_index)


def _series_at(folder: Path, files: Sequence[Path], volume: SourceVolume, places: np.ndarray) -> DicomSeries:
    """The slices that lie at these places along the image's k."""
    to_index = np.linalg.inv(volume.ijk_to_lps)
    with damage_named(f"DICOM folder '{folder}'"):
        found = [
            (float((to_index @ [*corner_lps_mm, 1])[2]), header)
            for file in files
            for header, corner_lps_mm in _slices_in(file)
        ]
        found.sort(key=lambda one: one[0])
        if len(found) != len(places) or (np.abs(np.array([at for at, _ in found]) - places) > 0.5).any():
            raise UserInputError(
                f"DICOM folder '{folder}' does not hold the {len(places)} slices of the image, each once; "
                "export the series again"
            )
        return DicomSeries(folder, tuple(header for _, header in found), tuple(places.tolist()))


def series_for(path: Path, images: Sequence[Path], volume: SourceVolume) -> DicomSeries:
    """The series that a new file is tied to: of the first DICOM folder of an image that has a frame of reference.

    Raises:
        UserInputError: As `framed_folder` and `read_series`.
    """
    return read_series(framed_folder(path, images), volume)


def _slices_in(file: Path) -> Iterator[tuple[Dataset, np.ndarray]]:
    """A header for each slice in a file, and where its first voxel lies; one of several says which frame it is."""
    header = read_dicom(file, with_voxels=False)
    if int(header.get("NumberOfFrames", None) or 1) == 1:
        yield header, np.array(header.ImagePositionPatient, float)
        return
    for frame in frame_headers(str(file)):
        of_frame = require("pydicom", extra=EXTRA).Dataset()
        of_frame.update(header)
        of_frame.ReferencedFrameNumber = frame.frame + 1
        yield of_frame, frame.corner_lps_mm
