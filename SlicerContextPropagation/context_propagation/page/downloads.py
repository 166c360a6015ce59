"""What a page downloads: written in memory, under names without anything of the patient."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.rtstruct_writing import PROPAGATED, SEMIAUTOMATIC, write_new_structure_set
from context_propagation.files.structures import Structure
from context_propagation.page.memory_folder import memory_folder
from context_propagation.page.page_session import PageSession
from context_propagation.segmentations.segmentation_files import write_predicted

NAMES = {"nifti": "segmentation.nii.gz", "seg.nrrd": "segmentation.seg.nrrd", "rtstruct": "segmentation.dcm"}
"""What can be downloaded."""


LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def download(held: PageSession, kind: str) -> dict[str, Any]:
    """The segmentation as a file.

    Args:
        held: Whose.
        kind: Of `NAMES`.

    Returns:
        Its name, and what it holds in base 64.

    Raises:
        UserInputError: The image did not come as DICOM, or what writes such a file is missing on the server.
    """
    engine, image = held.require_engine(), held.image
    if image is None or held.loaded is None:
        raise UserInputError("The session was not begun on the page; download it where it was begun")
    mask, name = engine.segmentation, held.loaded.model.target.name
    if kind == "nifti":
        data = nifti(mask.astype(np.uint8), engine.volume)
    elif kind == "rtstruct":
        data = _structure_set(image.series, image.no_structure_set, Structure.of(name, mask), engine.volume)
    else:
        with memory_folder() as folder:
            write_predicted(folder / NAMES[kind], mask, name, engine.volume)
            data = (folder / NAMES[kind]).read_bytes()
    return {"name": NAMES[kind], "data": base64.b64encode(data).decode("ascii")}


def _structure_set(series: Any, why_not: str, structure: Structure, volume: SourceVolume) -> bytes:
    if series is None:
        raise UserInputError(why_not)
    with memory_folder() as folder:
        path = folder / NAMES["rtstruct"]
        write_new_structure_set(path, [structure], volume, series, SEMIAUTOMATIC, PROPAGATED)
        return path.read_bytes()


def nifti(voxels: np.ndarray, volume: SourceVolume) -> bytes:
    """An array `[K, J, I]` on an image's grid as a NIfTI file, compressed."""
    nibabel = require("nibabel", extra="server")
    image = nibabel.Nifti1Image(voxels.T, LPS_TO_RAS @ volume.ijk_to_lps)
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    return gzip.compress(image.to_bytes(), 1, mtime=0)
