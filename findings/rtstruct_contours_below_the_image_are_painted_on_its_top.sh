#!/usr/bin/env bash
# A structure is drawn on a whole CT, and converted to a mask on a part of it, or on a PET or MR that covers less: some of its contours lie below the
# first slice or above the last one. dcmrtstruct2nii and platipy convert RT Structure Sets to NIfTI masks.
#
# Expected: such contours are left out, or the structure is refused, below as above. Of contours at z -6 to 3 mm on slices at 0 to 27 mm,
# slices at 0 and 3 mm have voxels.
# Seen (dcmrtstruct2nii 5, platipy 0.7.2): in both those at 0, 3, 24 and 27 mm. A contour below gets the slice number -1 or -2, and numpy counts
# that from the end: it is painted on the top of the image (up to as many slices below as the image has). Nothing is raised or logged. Contours
# above the last slice are left out by platipy; dcmrtstruct2nii leaves the whole structure out, and says so in its log.
# What to do: compare the contours' z with the image's before converting; or look for parts of the mask at its last slices.
#
# Run it: bash findings/rtstruct_contours_below_the_image_are_painted_on_its_top.sh   (a minute or two; needs Python 3.10 to 3.12 and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dcmrtstruct2nii==5 pydicom==2.4.5 simpleitk==2.5.7 scikit-image==0.25.2 numpy==2.2.6
"$folder/venv/bin/pip" install --quiet --no-deps platipy==0.7.2  # its converter needs no more than these
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'PROGRAM'
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from dcmrtstruct2nii import dcmrtstruct2nii
from platipy.dicom.io.rtstruct_to_nifti import convert_rtstruct
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

ROWS = COLUMNS = 32
SLICES, SLICE_DISTANCE = 10, 3.0
STUDY, SERIES, FRAME = generate_uid(), generate_uid(), generate_uid()


def dicom(kind, modality):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = kind, meta.MediaStorageSOPInstanceUID, STUDY
    dataset.FrameOfReferenceUID, dataset.Modality, dataset.PatientName, dataset.PatientID = FRAME, modality, "phantom", "phantom"
    return dataset


def write_series(folder):
    folder.mkdir()
    for k in range(SLICES):
        image = dicom(CTImageStorage, "CT")
        image.SeriesInstanceUID, image.InstanceNumber = SERIES, k + 1
        image.ImagePositionPatient, image.ImageOrientationPatient = [0.0, 0.0, k * SLICE_DISTANCE], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [1.0, 1.0], SLICE_DISTANCE
        image.Rows, image.Columns, image.SamplesPerPixel, image.PixelRepresentation = ROWS, COLUMNS, 1, 1
        image.PhotometricInterpretation, image.BitsAllocated, image.BitsStored, image.HighBit = "MONOCHROME2", 16, 16, 15
        image.PixelData = np.zeros((ROWS, COLUMNS), np.int16).tobytes()
        image.save_as(folder / f"{k}.dcm", write_like_original=False)


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_structure(path, heights):
    structures = dicom(RTStructureSetStorage, "RTSTRUCT")
    structures.SeriesInstanceUID = generate_uid()
    structures.StructureSetROISequence = [item(ROINumber=1, ROIName="target", ReferencedFrameOfReferenceUID=FRAME)]
    contours = []
    for z in heights:
        points = [value for x, y in ((8, 8), (20, 8), (20, 20), (8, 20)) for value in (x, y, z)]
        contours.append(item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4, ContourData=points))
    structures.ROIContourSequence = [item(ReferencedROINumber=1, ROIDisplayColor=[255, 0, 0], ContourSequence=contours)]
    structures.save_as(path, write_like_original=False)


def painted(path):
    """The z of the mask's slices that have voxels; None without a mask."""
    if not path.exists():
        return None
    image = sitk.ReadImage(str(path))
    slices = np.flatnonzero(sitk.GetArrayFromImage(image).any((1, 2)))
    return [round(image.TransformIndexToPhysicalPoint((0, 0, int(k)))[2], 3) for k in slices]


names = ("dcmrtstruct2nii", "platipy", "pydicom", "SimpleITK", "numpy")
print("python", platform.python_version(), *(f"{name} {version(name)}" for name in names))
write_series(Path("series"))
seen = {}
for where, heights in (("within", (6.0, 9.0)), ("below", (-6.0, -3.0, 0.0, 3.0)), ("above", (24.0, 27.0, 30.0, 33.0))):
    write_structure("structures.dcm", heights)
    out = Path(where)
    out.mkdir()
    dcmrtstruct2nii("structures.dcm", "series", str(out / "dcmrtstruct2nii"), convert_original_dicom=False)
    convert_rtstruct("series", "structures.dcm", output_dir=out)
    seen[where] = painted(out / "dcmrtstruct2nii" / "mask_target.nii.gz"), painted(out / "Struct_target.nii.gz")
    print(f"contours at {heights}: dcmrtstruct2nii {seen[where][0]}, platipy {seen[where][1]}")
top = [0.0, 3.0, 24.0, 27.0]
assert seen == {"within": ([6.0, 9.0], [6.0, 9.0]), "below": (top, top), "above": (None, [24.0, 27.0])}, "this has changed"
PROGRAM
