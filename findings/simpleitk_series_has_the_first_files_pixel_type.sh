#!/usr/bin/env bash
# A PET series read with SimpleITK, whose slices have rescale slopes of their own, as they have in most scanners' exports.
#
# Expected: the type of the image is one that holds all slices: stored 3s with slopes 1, 0.25 and 0.1 are 3, 0.75 and 0.3.
# Seen (SimpleITK 2.5.7): the first file alone decides. Where its slope is a whole number the image is of integers (of the stored 16 bits where
# the slope is 1, of 32 where it is 2), and the other slices are truncated: 3, 0 and 0; with 16 bits a slice whose slope is 40000 overflows. The
# same slices with another one in front are read as 64-bit numbers and are right. Nothing is raised or logged.
# What to do: name a floating-point type where the series is read (sitk.ReadImage(files, sitk.sitkFloat32)); it reaches the slices before they are truncated.
#
# Run it: bash findings/simpleitk_series_has_the_first_files_pixel_type.sh   (half a minute; needs Python 3.10 or newer and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet simpleitk==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

STORED = 3


def write_series(folder, slopes):
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k, slope in enumerate(slopes):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
        meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.Modality, image.InstanceNumber = "PT", k + 1
        image.ImagePositionPatient, image.ImageOrientationPatient = [0.0, 0.0, 3.0 * k], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [4.0, 4.0], 3.0
        image.Rows = image.Columns = 4
        image.SamplesPerPixel, image.PixelRepresentation, image.PhotometricInterpretation = 1, 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.RescaleSlope, image.RescaleIntercept, image.Units = slope, 0, "BQML"
        image.PixelData = np.full((4, 4), STORED, "<i2").tobytes()
        image.save_as(folder / f"{k}.dcm", enforce_file_format=True)


def read(slopes, *kind):
    """Type of the image, and the value of each slice."""
    folder = Path("x".join(str(slope) for slope in slopes))
    if not folder.exists():
        write_series(folder, slopes)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), *kind)
    values = sitk.GetArrayFromImage(image)[:, 0, 0]
    shown = image.GetPixelIDTypeAsString(), [round(float(value), 4) for value in values]
    print(f"slopes {slopes}{', read as 32-bit numbers' if kind else ''}: {shown[0]}, {shown[1]}")
    return shown


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("simpleitk", "pydicom", "numpy")))
assert read([1, 0.25, 0.1]) == ("16-bit signed integer", [3.0, 0.0, 0.0]), "this has changed"
assert read([2, 0.25, 0.1]) == ("32-bit signed integer", [6.0, 0.0, 0.0]), "this has changed"
assert read([0.25, 1, 0.1]) == ("64-bit float", [0.75, 3.0, 0.3]), "this has changed"
assert read([1, 40000, 0.1])[1][1] != 40000.0 * STORED, "this has changed"
assert read([1, 0.25, 0.1], sitk.sitkFloat32) == ("32-bit float", [3.0, 0.75, 0.3]), "this has changed"
PROGRAM
