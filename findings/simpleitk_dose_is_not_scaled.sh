#!/usr/bin/env bash
# An RT Dose read with SimpleITK. DICOM stores doses as whole numbers; DoseGridScaling says what a stored 1 is worth.
#
# Expected: as a CT comes in Hounsfield units (RescaleSlope is applied), a dose comes in Gy: stored 0, 1000 and 2000 with a scaling of 0.001
# are 0, 1 and 2.
# Seen (SimpleITK 2.5.7): the stored numbers, 0, 1000 and 2000, also where 32-bit floating-point numbers are asked for; the scaling is in the
# metadata (3004|000e) and not applied. The scaling differs from plan to plan, so that two doses cannot be compared or summed as they are read.
# What to do: multiply by the metadata's 3004|000e.
#
# Run it: bash findings/simpleitk_dose_is_not_scaled.sh   (half a minute; needs Python 3.10 or newer and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet simpleitk==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTDoseStorage, generate_uid

STORED = (0, 1000, 2000)


def write(path, kind, bits, **attributes):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    image.ImagePositionPatient, image.ImageOrientationPatient = [0.0, 0.0, 100.0], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = [2.0, 2.0]
    image.SamplesPerPixel, image.PixelRepresentation, image.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = bits, bits, bits - 1
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.save_as(path, enforce_file_format=True)


def write_dose(path, bits):
    write(
        path, RTDoseStorage, bits, Modality="RTDOSE", Rows=4, Columns=4, NumberOfFrames=len(STORED),
        FrameIncrementPointer=Tag("GridFrameOffsetVector"), GridFrameOffsetVector=[0.0, 3.0, 6.0], SliceThickness=None,
        DoseUnits="GY", DoseType="PHYSICAL", DoseSummationType="PLAN", DoseGridScaling="0.001",
        PixelData=np.repeat(STORED, 16).astype(f"<u{bits // 8}").tobytes(),
    )


def values(path, *kind):
    image = sitk.ReadImage(path, *kind)
    return [float(value) for value in sitk.GetArrayFromImage(image)[:, 0, 0]]


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("simpleitk", "pydicom", "numpy")))
write("ct.dcm", CTImageStorage, 16, Modality="CT", Rows=4, Columns=4, RescaleSlope=0.001, RescaleIntercept=0,
      PixelData=np.full(16, 1000, "<u2").tobytes())
print("a CT, stored 1000, RescaleSlope 0.001:", *values("ct.dcm"))
assert values("ct.dcm") == [1.0], "this has changed"
for bits in (16, 32):
    write_dose("dose.dcm", bits)
    print(f"a dose of {bits} bits, stored {STORED}, DoseGridScaling 0.001:", *values("dose.dcm"))
    assert values("dose.dcm") == values("dose.dcm", sitk.sitkFloat32) == [0.0, 1000.0, 2000.0], "this has changed"
reader = sitk.ImageFileReader()
reader.SetFileName("dose.dcm")
reader.ReadImageInformation()
print("in the metadata:", reader.GetMetaData("3004|000e"))
assert float(reader.GetMetaData("3004|000e")) == 0.001, "this has changed"
PROGRAM
