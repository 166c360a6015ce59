"""A small DICOM series on disk, with a structure set that came in."""

import numpy as np

from app_folders import temporary_folder


def write_case():
    """A folder with `CT/` (24 slices of 24 x 24) and `RTSTRUCT.dcm` with the ROI "GTV"; and its voxels (k, j, i)."""
    from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
    from context_propagation.files.phantom_dicom import write_phantom_dicom

    phantom = make_phantom(PhantomSettings("organ", spacing_ijk_mm=(4.0, 4.0, 4.0)))
    folder = temporary_folder("dicom")
    write_phantom_dicom(phantom, "Phantom", folder)
    return folder, np.asarray(phantom.gtv, bool)


def slices_of(path, name):
    """The heights (mm) of the slices on which an ROI of a structure set has contours, by pydicom alone."""
    import pydicom

    dataset = pydicom.dcmread(path)
    (number,) = [roi.ROINumber for roi in dataset.StructureSetROISequence if roi.ROIName == name]
    (item,) = [one for one in dataset.ROIContourSequence if one.ReferencedROINumber == number]
    return sorted({round(float(contour.ContourData[2]), 3) for contour in item.ContourSequence})


def heights_of(folder, mask):
    """The heights (mm) of the slices on which a mask has voxels, by the headers of the series alone."""
    import pydicom

    heights = sorted(float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in folder.iterdir())
    return [round(heights[k], 3) for k in np.flatnonzero(mask.any(axis=(1, 2)))]
