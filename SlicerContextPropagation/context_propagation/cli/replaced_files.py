"""What an output may replace: a file of its own kind, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_files import sop_class
from context_propagation.files.dicom_seg import SEGMENTATION_STORAGE
from context_propagation.files.dicom_series import DICOM_SEG
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.files.rtstruct_reading import RT_STRUCTURE_SET_STORAGE
from context_propagation.files.self_contained_page import PAGE_MARK

REPORT_KEYS = {"stages", "versions", "settings"}
"""What every report of a command has."""


SESSION_KEYS = {"format", "model", "image_sha256", "settings"}
"""What every saved session has, of whatever format."""


PROFILE_KEYS = {"format", "models"}
"""What every drawing profile has."""


MOST_LABELS = 256
"""A file with more values is an image."""


SESSION_ENDING = ".session.json"


PROFILE_ENDING = ".profile.json"


PICTURES = {".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".pdf": b"%PDF"}


VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha")


HDF5 = b"\x89HDF"


def check_replaceable(path: Path) -> None:
    """Refuse an output that would replace a link, what is no regular file, or a file of another kind.

    Raises:
        UserInputError: Naming the output.
    """
    if path.is_symlink():
        raise UserInputError(f"Output '{path}' is a link; name the file itself, or choose another name")
    if not path.exists():
        return
    if not path.is_file():
        raise UserInputError(f"Output '{path}' is no regular file; choose another name")
    if not path.stat().st_size:
        return
    name = path.name.lower()
    for endings, is_kind, kind in KINDS:
        if name.endswith(endings):
            if not is_kind(path):
                raise UserInputError(f"Output '{path}' exists and is {kind}; choose another name")
            return


def check_results_folder(folder: Path, names: Sequence[str], first: str) -> None:
    """Refuse a folder for results where a file has the name of one and is none.

    Args:
        folder: Where results go; it may be missing.
        names: Of the results.
        first: What a run writes there before any of them: where it is, they are an earlier run's.

    Raises:
        UserInputError: Naming the file, a link, or what is no folder or regular file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserInputError(f"Output '{folder}' is no folder; choose another name")
    for path in (folder / name for name in (first, *names)):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserInputError(f"Output '{path}' is a link or no regular file; choose another folder")
        if path.exists() and not (folder / first).is_file():
            raise UserInputError(f"Output '{path}' exists and is no result of this command; choose another folder")


def check_session_ending(path: Path | None) -> None:
    """Refuse a saved session whose name is that of another kind of file.

    Raises:
        UserInputError: The name does not end in .session.json.
    """
    if path is not None and not path.name.lower().endswith(SESSION_ENDING):
        raise UserInputError(f"Session '{path}' does not end in {SESSION_ENDING}; choose another name, which does")


def check_profile_ending(path: Path | None) -> None:
    """Refuse a drawing profile whose name is that of another kind of file.

    Raises:
        UserInputError: The name does not end in .profile.json.
    """
    if path is not None and not path.name.lower().endswith(PROFILE_ENDING):
        raise UserInputError(f"Profile '{path}' does not end in {PROFILE_ENDING}; choose another name, which does")


def _is_report(path: Path) -> bool:
    return _keys(path) >= REPORT_KEYS


def _is_session(path: Path) -> bool:
    return _keys(path) >= SESSION_KEYS


def _is_profile(path: Path) -> bool:
    return _keys(path) >= PROFILE_KEYS


def _keys(path: Path) -> set[str]:
    """Of the JSON in a file; none where it holds no such thing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return set()
    return set(content) if isinstance(content, dict) else set()


def _is_structure_set(path: Path) -> bool:
    return sop_class(path) == RT_STRUCTURE_SET_STORAGE


def _is_dicom_segmentation(path: Path) -> bool:
    return sop_class(path) in SEGMENTATION_STORAGE


def _is_seg_nrrd(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"NRRD"


def check_not_an_image(path: Path) -> None:
    """Refuse a segmentation that would replace an image: a file of grey values.

    Raises:
        UserInputError: Naming the output.
    """
    is_volume = path.name.lower().endswith(VOLUMES) and not path.is_symlink() and path.is_file()
    voxels = _voxels(path) if is_volume and path.stat().st_size else None
    if voxels is not None and not _are_labels(voxels):
        raise UserInputError(f"Output '{path}' exists and is no segmentation but an image; choose another name")


def _are_labels(voxels: np.ndarray) -> bool:
    """Whether voxels are whole numbers from 0 on, and not many of them."""
    if voxels.dtype.kind not in "iu":
        return False
    return bool(voxels.min(initial=0) >= 0 and len(np.unique(voxels)) <= MOST_LABELS)


def _is_volume(path: Path) -> bool:
    return _voxels(path) is not None


def _voxels(path: Path) -> np.ndarray | None:
    try:
        with native_messages_hidden():
            return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    except RuntimeError:
        return None


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(PICTURES[path.suffix.lower()])


def _is_transform(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64)
    return start.startswith((b"#Insight Transform File", HDF5))


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return PAGE_MARK.encode() in file.read(400)


KINDS: list[tuple[str | tuple[str, ...], Callable[[Path], bool], str]] = [
    (SESSION_ENDING, _is_session, "no saved session"),
    (PROFILE_ENDING, _is_profile, "no drawing profile"),
    (".json", _is_report, "no report of this command"),
    (DICOM_SEG, _is_dicom_segmentation, "no DICOM segmentation"),
    (".dcm", _is_structure_set, "no RT Structure Set"),
    (".seg.nrrd", _is_seg_nrrd, "no segmentation"),
    (VOLUMES, _is_volume, "no volume"),
    (tuple(PICTURES), _is_picture, "no picture of that format"),
    ((".tfm", ".h5"), _is_transform, "no transform"),
    (".html", _is_page, "no page of this program"),
]
"""By the ending: what a file has to be that is replaced, and what else it is."""
