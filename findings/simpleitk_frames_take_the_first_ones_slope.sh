#!/usr/bin/env bash
# An enhanced PET (one file, many frames) read with SimpleITK. Each frame's group may hold a Pixel Value Transformation of its own: in series of
# single slices PET scanners choose a slope for each slice, and a conversion to one file keeps them.
#
# Expected: each frame is rescaled by its own slope, as the slices of a series of single files are: stored 100s with slopes 0.5, 1.5 and 2.5
# are 50, 150 and 250; or the file is refused.
# Seen (SimpleITK 2.5.7): 50, 50 and 50: the first frame's slope is applied to all of them. Nothing is raised or logged.
# What to do: read PerFrameFunctionalGroupsSequence with pydicom, and rescale by hand or refuse where the slopes differ.
#
# Run it: bash findings/simpleitk_frames_take_the_first_ones_slope.sh   (half a minute; needs Python 3.10 or newer and a package index)
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
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedPETImageStorage, ExplicitVRLittleEndian, generate_uid

STORED = 100


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write(path, slopes):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedPETImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = EnhancedPETImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    image.Modality, image.InstanceNumber, image.NumberOfFrames = "PT", 1, len(slopes)
    image.Rows = image.Columns = 4
    image.SamplesPerPixel, image.PixelRepresentation, image.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[4.0, 4.0], SliceThickness=3.0)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    image.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0.0, 0.0, 3.0 * k])],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")],
        )
        for k, slope in enumerate(slopes)
    ]
    image.PixelData = np.full((len(slopes), 4, 4), STORED, "<u2").tobytes()
    image.save_as(path, enforce_file_format=True)


def values(slopes):
    write("pet.dcm", slopes)
    found = [float(value) for value in sitk.GetArrayFromImage(sitk.ReadImage("pet.dcm"))[:, 0, 0]]
    print(f"stored {STORED}, slopes {slopes}: {found}")
    return found


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("simpleitk", "pydicom", "numpy")))
assert values([0.5, 0.5, 0.5]) == [50.0, 50.0, 50.0], "this has changed"
assert values([0.5, 1.5, 2.5]) == [50.0, 50.0, 50.0], "this has changed"
assert values([2.5, 1.5, 0.5]) == [250.0, 250.0, 250.0], "this has changed"
PROGRAM
