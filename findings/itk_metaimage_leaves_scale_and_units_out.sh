#!/usr/bin/env bash
# A MetaImage (.mha) whose header says how its stored values become intensities, and in which unit its lengths are, read with SimpleITK.
# MetaIO's format has ElementToIntensityFunctionSlope and ...Offset for the one, and DistanceUnits (um, mm, cm) for the other.
#
# Expected: as the slope of a NIfTI or DICOM file is applied and a NIfTI in metres comes in millimetres, stored 10 with slope 0.5 and offset 3 is 8,
# and a spacing of 0.2 cm is 2 mm.
# Seen (SimpleITK 2.5.7): 10, and a spacing of 0.2. Slope and offset are nowhere in the image; the unit is in its metadata (ITK_VoxelUnits), and
# spacing and origin are as if it were not. Nothing is raised or logged.
# What to do: scale lengths by ITK_VoxelUnits; look into the header of files that other programs wrote for a slope.
#
# Run it: bash findings/itk_metaimage_leaves_scale_and_units_out.sh   (half a minute; needs Python 3.10 or newer and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet simpleitk==2.5.7 nibabel==5.3.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

STORED = np.full((2, 3, 4), 10, "<i2")


def write_mha(path, *entries):
    header = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False", "CompressedData = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 0 0 0", "ElementSpacing = 0.2 0.2 0.2", "DimSize = 4 3 2",
        "ElementType = MET_SHORT", *entries, "ElementDataFile = LOCAL",
    ]
    Path(path).write_bytes("\n".join(header).encode() + b"\n" + STORED.tobytes())


def read(path):
    image = sitk.ReadImage(path)
    value, spacing = float(sitk.GetArrayFromImage(image).max()), round(image.GetSpacing()[0], 4)
    units = image.GetMetaData("ITK_VoxelUnits") if image.HasMetaDataKey("ITK_VoxelUnits") else "none said"
    print(f"{path}: value {value:g}, spacing {spacing:g}, units {units}")
    return value, spacing


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("simpleitk", "nibabel", "numpy")))
scaled = nibabel.Nifti1Image(STORED.T, np.diag([0.0002, 0.0002, 0.0002, 1]))
scaled.header.set_xyzt_units("meter")
scaled.header.set_slope_inter(0.5, 3)
scaled.to_filename("nifti.nii")
raw = Path("nifti.nii").read_bytes()  # nibabel divides by the slope as it writes: the stored values are put back
Path("nifti.nii").write_bytes(raw[: len(raw) - STORED.nbytes] + STORED.tobytes())
write_mha("plain.mha")
write_mha("scaled.mha", "ElementToIntensityFunctionSlope = 0.5", "ElementToIntensityFunctionOffset = 3")
write_mha("cm.mha", "DistanceUnits = cm")
assert read("nifti.nii") == (8.0, 0.2), "this has changed"
assert read("plain.mha") == (10.0, 0.2), "this has changed"
assert read("scaled.mha") == (10.0, 0.2), "this has changed"
assert read("cm.mha") == (10.0, 0.2), "this has changed"
PROGRAM
