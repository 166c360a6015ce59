"""Files that a browser sends, read as an image: an archive that is not compressed, a folder in it for each channel."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.core.phantom.phantom import make_phantom
from context_propagation.core.phantom.unseen_phantoms import UNSEEN
from context_propagation.files.dicom_files import EXTRA, has_dicom_content
from context_propagation.files.dicom_series import read_series
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.volume_headers import holds_its_voxels
from context_propagation.page.memory_folder import memory_folder
from context_propagation.page.page_session import PageImage

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


MOST_FILES, MOST_CHANNELS = 5000, 16


PIECE_BYTES = 2**20


ENCRYPTED = 1
"""A file's flag in an archive."""


DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError)
"""What Python's library says of archives that are none, or of kinds that it does not read."""


NO_DICOM = "The image did not come as DICOM, and an RT Structure Set lies on a DICOM series; download NIfTI instead"


def read_upload(data: bytes, most_bytes: int) -> PageImage:
    """The image in an archive.

    Args:
        data: A zip archive whose files are stored as they are, under `0/name`, `1/name` for the model's channels; one
            file or the files of a DICOM series each.
        most_bytes: That files and voxels may take, each.

    Raises:
        UserInputError: The archive or an image in it is damaged, too large, or of no format that is read.
    """
    named = _files(data, most_bytes)
    with memory_folder(sum(info.file_size for info, _, _ in named)) as folder:
        for number, (info, channel, archive) in enumerate(named):
            place = folder / str(channel)
            place.mkdir(exist_ok=True)
            _write(archive, info, place / f"{number:05d}{_ending(info.filename)}", most_bytes)
        try:
            return _read([_path(folder / str(n)) for n in sorted({channel for _, channel, _ in named})], most_bytes)
        except UserInputError as error:  # a person knows their files, and not this folder
            raise UserInputError(_without_folder(str(error), folder, named)) from error


_Named = tuple[zipfile.ZipInfo, int, zipfile.ZipFile]


def _files(data: bytes, most_bytes: int) -> list[_Named]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = [info for info in archive.infolist() if not info.is_dir()]
        named = [(info, int(PurePosixPath(info.filename).parts[0]), archive) for info in infos]
    except (*DAMAGED, ValueError, IndexError) as error:
        raise UserInputError("The files did not arrive as they were sent; choose them again") from error
    if not infos or len(infos) > MOST_FILES:
        raise UserInputError(f"{len(infos)} files were chosen; choose one file, or the files of one DICOM series")
    if any(info.flag_bits & ENCRYPTED for info in infos):
        raise UserInputError("The archive is encrypted; the page sends files as they are")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise UserInputError("The archive is compressed; the page sends files as they are")
    if sum(info.file_size for info in infos) > min(most_bytes, len(data)):
        raise UserInputError("The archive says that its files are larger than itself; choose the files again")
    channels = sorted({channel for _, channel, _ in named})
    if channels != list(range(len(channels))) or len(channels) > MOST_CHANNELS:
        raise UserInputError("A channel of the image is missing; choose files for each")
    return named


def _ending(name: str) -> str:
    lower = name.lower()
    return next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if lower.endswith(ending)), ".dcm")


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most_bytes: int) -> None:
    """As it is, but unpacked: what a `.nii.gz` unpacks to is bounded."""
    gz = path.name.endswith(".nii.gz")
    unpack = zlib.decompressobj(wbits=31) if gz else None
    left = most_bytes
    try:
        with archive.open(info) as source, path.with_name(path.name.removesuffix(".gz")).open("wb") as target:
            while piece := source.read(PIECE_BYTES):
                while piece and left >= 0:
                    unpacked = piece if unpack is None else unpack.decompress(piece, PIECE_BYTES)
                    piece = b"" if unpack is None else unpack.unconsumed_tail
                    left -= len(unpacked)
                    target.write(unpacked)
    except (*DAMAGED, ValueError) as error:
        raise UserInputError(f"'{_shown(info.filename)}' is damaged; copy or export it again") from error
    except OSError as error:
        raise UserInputError("The server's folder in memory is full; tell the one who runs it") from error
    if left < 0:
        raise UserInputError(f"'{_shown(info.filename)}' is larger than what the server takes; crop it")


def _path(channel: Path) -> Path:
    """The one file of a channel, or the folder of its DICOM series."""
    files = list(channel.iterdir())
    if len(files) == 1 and not has_dicom_content(files[0]):
        _require_whole(files[0])
        return files[0]
    if any(file.suffix != ".dcm" for file in files):
        raise UserInputError("Several files were chosen for a channel; choose one, or the files of one DICOM series")
    return channel


def _require_whole(file: Path) -> None:
    """Of a file that is no DICOM: no reader may be led to other files of the server."""
    if file.suffix not in ENDINGS:
        raise UserInputError(f"'{file}' is neither NIfTI, NRRD, MHA nor DICOM; export it as one of them")
    if file.suffix != ".nii" and not holds_its_voxels(file):
        raise UserInputError(f"'{file}' does not hold its voxels itself, or is damaged; export it as one file")


def _read(paths: Sequence[Path], most_bytes: int) -> PageImage:
    voxels = sum(_voxels(path) for path in paths)
    if 4 * voxels > most_bytes:
        raise UserInputError(f"The image has {voxels} voxels, more than the server takes; crop it")
    volume = read_source_volume(paths)
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is None:
        return PageImage(volume, None, NO_DICOM)
    series = read_series(folder, volume)
    if not series.frame_of_reference:
        return PageImage(volume, None, "The DICOM series has no frame of reference; export it again for RT Structures")
    return PageImage(volume, series)


def _voxels(path: Path) -> int:
    """That a header promises; they are not read yet."""
    if path.is_dir():
        pydicom = require("pydicom", extra=EXTRA)
        tags = ["Rows", "Columns", "NumberOfFrames"]
        read = (pydicom.dcmread(one, stop_before_pixels=True, specific_tags=tags, force=True) for one in path.iterdir())
        return sum(int(h.get("Rows", 0)) * int(h.get("Columns", 0)) * int(h.get("NumberOfFrames") or 1) for h in read)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return 0  # the reader itself says what is wrong
    return int(np.prod(np.array(reader.GetSize(), object)) * reader.GetNumberOfComponents())


def _shown(name: str) -> str:
    return PurePosixPath(name).name[:80]


def _without_folder(message: str, folder: Path, named: Sequence[_Named]) -> str:
    for number, (info, channel, _) in enumerate(named):
        stored = f"{folder}/{channel}/{number:05d}{_ending(info.filename)}"
        for path in (stored.removesuffix(".gz"), stored):
            message = message.replace(path, _shown(info.filename))
        message = message.replace(f"{number:05d}.dcm", _shown(info.filename))
    for channel in range(MOST_CHANNELS):
        message = message.replace(f"DICOM folder '{folder}/{channel}'", "The DICOM series")
    return message.replace(str(folder), "the files")


@cache
def demo_image() -> PageImage:
    """The phantom of the demo, which no network saw."""
    phantom = make_phantom(UNSEEN)
    return PageImage(SourceVolume.from_sitk([phantom.image(phantom.ct)]), None, NO_DICOM)
