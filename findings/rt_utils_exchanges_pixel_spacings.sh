#!/usr/bin/env bash
# rt-utils writes masks as RT Structure Sets and reads them back, on the grid of a DICOM series.
#
# Expected: DICOM's Pixel Spacing is the distance between rows (along y here), then that between columns (along x). On an axial series of
# 2 \ 1 mm the voxels of rows 10 to 14 and columns 20 to 29 are contoured at x 20 to 29 mm and y 20 to 28 mm.
# Seen (rt-utils 1.2.7, pydicom 3.0.2): x 40 to 58 mm and y 10 to 14 mm; the two spacings are exchanged. Its own reader exchanges them too,
# so that its round trip is exact and shows nothing; every other reader sees the structure elsewhere and in another shape.
# What to do: with unequal spacings, write and check with another library. CT has equal ones as a rule; resliced images and MR need not.
#
# Run it: bash findings/rt_utils_exchanges_pixel_spacings.sh   (about a minute; needs Python 3.10 to 3.12 and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rt-utils==1.2.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rt_utils import RTStructBuilder

ROWS = COLUMNS = 40
SLICES, SLICE_DISTANCE = 5, 3.0


def write_series(folder, pixel_spacing):
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(SLICES):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.PatientName = image.PatientID = "phantom"
        image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = image.StudyID = ""
        image.AccessionNumber = image.ReferringPhysicianName = ""
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, k + 1
        image.ImagePositionPatient = [0.0, 0.0, k * SLICE_DISTANCE]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = list(pixel_spacing), SLICE_DISTANCE
        image.Rows, image.Columns, image.SamplesPerPixel, image.PixelRepresentation = ROWS, COLUMNS, 1, 1
        image.PhotometricInterpretation, image.BitsAllocated, image.BitsStored, image.HighBit = "MONOCHROME2", 16, 16, 15
        image.PixelData = np.zeros((ROWS, COLUMNS), np.int16).tobytes()
        image.save_as(folder / f"{k}.dcm", enforce_file_format=True)


def contoured(pixel_spacing):
    """Least and greatest x and y of what is written of the voxels, mm; and whether rt-utils reads the same voxels."""
    name = "x".join(str(spacing) for spacing in pixel_spacing)
    write_series(Path(name), pixel_spacing)
    mask = np.zeros((ROWS, COLUMNS, SLICES), bool)
    mask[10:15, 20:30, 2] = True
    written = RTStructBuilder.create_new(name)
    written.add_roi(mask, name="target")
    written.save(f"{name}.rtstruct.dcm")
    contour = pydicom.dcmread(f"{name}.rtstruct.dcm").ROIContourSequence[0].ContourSequence[0].ContourData
    points = np.array(contour, float).reshape(-1, 3)
    read = RTStructBuilder.create_from(name, f"{name}.rtstruct.dcm").get_roi_mask_by_name("target")
    (x0, y0, _), (x1, y1, _) = points.min(0), points.max(0)
    return tuple(float(value) for value in (x0, x1, y0, y1)), bool((read == mask).all())


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("rt-utils", "pydicom", "numpy")))
equal, unequal = contoured((1.0, 1.0)), contoured((2.0, 1.0))
print("rows 10 to 14 and columns 20 to 29: x from, to, y from, to (mm); read back the same")
print("rows 1 mm apart:", *equal[0], equal[1])
print("rows 2 mm apart:", *unequal[0], unequal[1])
assert equal == ((20.0, 29.0, 10.0, 14.0), True), "this has changed"
assert unequal == ((40.0, 58.0, 10.0, 14.0), True), "this has changed"
PROGRAM
