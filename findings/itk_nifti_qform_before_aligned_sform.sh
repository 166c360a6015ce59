#!/usr/bin/env bash
# A NIfTI may have two transforms: a qform (rigid, from the scanner) and an sform, for instance to another image after a
# registration (sform_code 2, "aligned"). Most readers of the field take the sform whenever its code is above 0.
#
# Expected: SimpleITK places voxels by the sform, as nibabel does, whatever its code is.
# Seen (SimpleITK 2.5.0, nibabel 5.3.2, Python 3.11): with qform_code 1, SimpleITK takes the sform where its code is 1 and the qform where
# it is 2. The same file with another code lies 50 mm elsewhere in ITK than in nibabel.
#
# Run it: bash findings/itk_nifti_qform_before_aligned_sform.sh   (about a minute; needs Python and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.0 nibabel==5.3.2 "numpy>=2,<3"
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform

import nibabel
import numpy as np
import SimpleITK as sitk

print("python", platform.python_version(), "SimpleITK", sitk.Version.VersionString(), "nibabel", nibabel.__version__)
scanner, aligned = np.eye(4), np.eye(4)
aligned[0, 3] = 50.0
seen = {}
for code in (1, 2):
    image = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), aligned)
    image.header.set_qform(scanner, code=1)
    image.header.set_sform(aligned, code=code)
    nibabel.save(image, f"{code}.nii.gz")
    x = -sitk.ReadImage(f"{code}.nii.gz").GetOrigin()[0]  # LPS to RAS
    seen[code] = (float(nibabel.load(f"{code}.nii.gz").affine[0, 3]), x)
    print(f"sform_code {code}: first voxel at x = {seen[code][0]} mm by nibabel, {x} mm by SimpleITK (RAS)")
assert seen == {1: (50.0, 50.0), 2: (50.0, 0.0)}, "this has changed"
PROGRAM
