#!/usr/bin/env bash
# A NIfTI's sform holds the whole affine matrix, voxel sizes included; with sform_code > 0 and qform_code = 0 it is the
# only statement about where voxels lie. The NIfTI-1 standard (method 3) takes positions from it alone.
#
# Expected: SimpleITK reports the voxel sizes of the sform, 2 x 2 x 3 mm, as nibabel does.
# Seen (SimpleITK 2.5.0, nibabel 5.3.2, Python 3.11): SimpleITK takes axes and origin from the sform and the voxel sizes from
# pixdim, 1 x 1 x 1 mm. Voxel (31, 31, 31) lies 75.9 mm from where nibabel places it. ITK prints a line about "unexpected
# scales in sform" on stderr, which a graphical application does not show, and no error is raised.
#
# Run it: bash findings/itk_nifti_spacing_is_not_the_sforms.sh   (about a minute; needs Python and a package index)
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
affine = np.diag([2.0, 2.0, 3.0, 1.0])
image = nibabel.Nifti1Image(np.zeros((32, 32, 32), np.int16), affine)
image.header.set_sform(affine, code=1)
image.header.set_qform(None, code=0)
image.header["pixdim"][1:4] = 1.0
nibabel.save(image, "image.nii.gz")

corner = (31, 31, 31)
by_nibabel = nibabel.affines.apply_affine(nibabel.load("image.nii.gz").affine, corner)
read = sitk.ReadImage("image.nii.gz")
by_itk = np.array(read.TransformIndexToPhysicalPoint(corner)) * (-1, -1, 1)  # LPS to RAS
apart = np.linalg.norm(by_nibabel - by_itk)
print("spacing by SimpleITK", read.GetSpacing())
print("last voxel, RAS mm: nibabel", by_nibabel.tolist(), "SimpleITK", by_itk.tolist(), f"apart {apart:.1f} mm")
assert read.GetSpacing() == (1.0, 1.0, 1.0), "this has changed: the sform's voxel sizes are read"
PROGRAM
