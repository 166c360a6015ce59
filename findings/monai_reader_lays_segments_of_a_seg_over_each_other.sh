#!/usr/bin/env bash
# A DICOM SEG of two structures, one above the other, written by highdicom, which leaves the frames out in which a segment is empty (the default),
# and read by MONAI's PydicomReader, which "is also able to load segmentations".
#
# Expected: each frame says where it lies, so segment 1 is read at 0, 3 and 6 mm and segment 2 at 9, 12 and 15 mm, as highdicom reads the file.
# Seen (monai 1.6.1, highdicom 0.28.2): both at 6, 7.5 and 9 mm, on the same three slices. Each segment's frames are stacked in file order
# from slice 0; of the positions only the first frame's and the last one's are looked at, and what lies between is divided evenly. Nothing is
# raised or logged (segments of different numbers of frames end in an error). With the empty frames written the file is read right.
# What to do: read a SEG with highdicom's Segmentation.get_volume, or write it with omit_empty_frames=False for MONAI.
#
# Run it: bash findings/monai_reader_lays_segments_of_a_seg_over_each_other.sh   (a few minutes; needs Python 3.11 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription, segread
from monai.data import PydicomReader
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES, SLICE_DISTANCE, ROWS, COLUMNS = 6, 3.0, 8, 10


def series():
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(SLICES):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.PatientName = image.PatientID = "phantom^"
        image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = image.StudyID = ""
        image.AccessionNumber = image.ReferringPhysicianName = image.PositionReferenceIndicator = ""
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, k + 1
        image.ImagePositionPatient = [0.0, 0.0, k * SLICE_DISTANCE]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [1.0, 1.0], SLICE_DISTANCE
        image.Rows, image.Columns, image.SamplesPerPixel, image.PixelRepresentation = ROWS, COLUMNS, 1, 1
        image.PhotometricInterpretation, image.BitsAllocated, image.BitsStored, image.HighBit = "MONOCHROME2", 16, 16, 15
        image.PixelData = np.zeros((ROWS, COLUMNS), np.int16).tobytes()
        yield image


def heights(mask, affine):
    """The z of the slices, the mask's third axis, that have a voxel; sorted."""
    return sorted(round(float(affine[2, 2] * k + affine[2, 3]), 3) for k in np.flatnonzero(mask.any((0, 1))))


def read_by_highdicom(path):
    volume = segread(path).get_volume(combine_segments=False)  # slices, rows, columns, segments
    affine = volume.affine[:, [2, 1, 0, 3]]
    return [heights(volume.array[..., segment].transpose(2, 1, 0), affine) for segment in range(volume.array.shape[3])]


def read_by_monai(path):
    reader = PydicomReader()
    array, metadata = reader.get_data(reader.read(path))  # columns, rows, slices, segments
    return [heights(array[..., segment], np.asarray(metadata["affine"])) for segment in range(array.shape[3])]


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("monai", "highdicom", "pydicom", "numpy")))
mask = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
mask[:3, 2:4, 3:6] = 1
mask[3:, 4:6, 3:6] = 2
described = [
    SegmentDescription(number, name, codes.SCT.Organ, codes.SCT.Liver, SegmentAlgorithmTypeValues.MANUAL)
    for number, name in enumerate(("lower", "upper"), 1)
]
seen = {}
for omitted in (True, False):
    segmentation = Segmentation(
        list(series()), mask, "BINARY", described, generate_uid(), 2, generate_uid(), 1, "maker", "model", "1", "0",
        omit_empty_frames=omitted,
    )
    segmentation.save_as("seg.dcm")
    for name, read in (("highdicom", read_by_highdicom), ("MONAI", read_by_monai)):
        seen[omitted, name] = read("seg.dcm")
        print(f"empty frames {'omitted' if omitted else 'written'}, {name}: segments 1 and 2 at z", *seen[omitted, name], "mm")
right = [[0.0, 3.0, 6.0], [9.0, 12.0, 15.0]]
wrong = [[6.0, 7.5, 9.0]] * 2
assert seen == {(True, "highdicom"): right, (True, "MONAI"): wrong, (False, "highdicom"): right, (False, "MONAI"): right}, "this has changed"
PROGRAM
