"""SUVs by body weight from DICOM headers; each expected factor is worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.files.image_files import read_image, read_source_volume
from context_propagation.files.suv import suv_factor

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import PositronEmissionTomographyImageStorage  # noqa: E402

from dicom_files import made, write_ct_series  # noqa: E402

VOXELS = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) * 100

PET = {
    "SOPClassUID": PositronEmissionTomographyImageStorage,
    "Modality": "PT",
    "Units": "BQML",
    "CorrectedImage": ["NORM", "ATTN", "DECY"],
    "DecayCorrection": "START",
    "PatientWeight": "70",
    "SeriesDate": "20200304",
    "SeriesTime": "110000.000",
    "AcquisitionDate": "20200304",
    "AcquisitionTime": "110000.00",
}

NO_CLOCK = {"RadiopharmaceuticalStartTime": None}

FACTOR = 70_000 / 100e6
"""70 kg; 200 MBq at 10:00 with a half-life of an hour: 100 MBq are left at 11:00."""


def pharmaceutical(**changes):
    given = {
        "RadiopharmaceuticalStartTime": "100000.00",
        "RadionuclideTotalDose": "200000000",
        "RadionuclideHalfLife": "3600",
        **changes,
    }
    return [made(**{keyword: value for keyword, value in given.items() if value is not None})]


def pet(tmp_path, injection=None, **changes):
    given = {**PET, "RadiopharmaceuticalInformationSequence": pharmaceutical(**(injection or {})), **changes}
    return write_ct_series(tmp_path / "pet", VOXELS, **given).folder


def factor(folder):
    return suv_factor(sorted(folder.iterdir()), "PET")


def test_voxels_become_the_activity_per_gram_of_what_is_left_of_the_dose(tmp_path):
    folder = pet(tmp_path)

    voxels = sitk.GetArrayFromImage(read_image(folder, suv=True))

    assert np.allclose(voxels, VOXELS * FACTOR, rtol=1e-6)
    assert voxels.max() == pytest.approx(5900 * 7e-4)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(folder)), VOXELS)


@pytest.mark.parametrize(
    ("injection", "changes", "expected"),
    [
        ({}, {"DecayCorrection": "ADMIN"}, 70_000 / 200e6),  # corrected to the injection: the whole dose
        ({"RadiopharmaceuticalStartDateTime": "20200304090000", **NO_CLOCK}, {}, 70_000 / 50e6),
        ({"RadiopharmaceuticalStartTime": "233000"}, {"SeriesTime": "003000", "AcquisitionTime": "003000"}, FACTOR),
        ({}, {"AcquisitionTime": "111500"}, FACTOR),  # a later bed: corrected to the series' start
        ({}, {"Units": "GML"}, 1.0),
        ({"RadiopharmaceuticalStartDateTime": "20200304100000.00+0100"}, {"TimezoneOffsetFromUTC": "+0100"}, FACTOR),
    ],
    ids=["to the injection", "two hours by date", "over midnight", "a later bed", "SUV already", "a time zone"],
)  # fmt: skip
def test_each_way_of_saying_the_dose_gives_the_factor_worked_by_hand(tmp_path, injection, changes, expected):
    assert factor(pet(tmp_path, injection, **changes)) == pytest.approx(expected, rel=1e-9)


def private(folder, group, maker, element, vr, value, **changes):
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.private_block(group, maker, create=True).add_new(element, vr, value)
        for keyword, changed in changes.items():
            setattr(dataset, keyword, changed)
        dataset.save_as(file)
    return folder


def test_counts_of_philips_have_a_factor_of_their_own(tmp_path):
    folder = pet(tmp_path, Units="CNTS")
    with pytest.raises(UserInputError, match="it holds counts, and no factor to SUV"):
        factor(folder)

    assert factor(private(folder, 0x7053, "Philips PET Private Group", 0, "DS", "0.000321")) == 0.000321


def test_slices_of_philips_whose_factors_differ_are_refused(tmp_path):
    folder = private(pet(tmp_path, Units="CNTS"), 0x7053, "Philips PET Private Group", 0, "DS", "0.000321")
    last = sorted(folder.iterdir())[-1]
    dataset = pydicom.dcmread(last)
    dataset.private_block(0x7053, "Philips PET Private Group")[0].value = "0.0005"
    dataset.save_as(last)

    with pytest.raises(UserInputError, match=r"its slices differ in their factor \(7053,xx00\)"):
        factor(folder)


def test_a_series_made_anew_is_of_the_scans_start_where_ge_keeps_it(tmp_path):
    folder = pet(tmp_path, SeriesTime="150000")
    with pytest.raises(UserInputError, match=r"SeriesTime \(15:00:00\) lies after AcquisitionTime \(11:00:00\)"):
        factor(folder)

    assert factor(private(folder, 0x0009, "GEMS_PETD_01", 0x0D, "DT", "20200304110000.00")) == pytest.approx(FACTOR)


@pytest.mark.parametrize(
    "keyword",
    [
        *("PatientWeight", "Units", "DecayCorrection", "SeriesTime", "AcquisitionDate"),
        "RadiopharmaceuticalInformationSequence",
    ],
)
def test_what_is_missing_is_named(tmp_path, keyword):
    with pytest.raises(UserInputError, match=f"PET cannot become SUV: it has no {keyword}; export it"):
        factor(pet(tmp_path, **{keyword: None}))


@pytest.mark.parametrize("keyword", ["RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"])
def test_what_is_missing_of_the_injection_is_named(tmp_path, keyword):
    with pytest.raises(UserInputError, match=f"it has no .*{keyword}; export it"):
        factor(pet(tmp_path, {keyword: None}))


@pytest.mark.parametrize(
    ("injection", "changes", "message"),
    [
        ({}, {"PatientWeight": "0"}, "its PatientWeight is 0; correct it"),
        ({}, {"PatientWeight": "70000"}, "its PatientWeight is 70000; correct it"),
        ({"RadionuclideTotalDose": "370"}, {}, "its RadionuclideTotalDose is 370 Bq, which looks like MBq"),
        ({"RadionuclideHalfLife": "-1"}, {}, "its RadionuclideHalfLife is -1; correct it"),
        ({}, {"CorrectedImage": ["ATTN"]}, r"does not say that decay was corrected \(DECY\)"),
        ({}, {"DecayCorrection": "NONE"}, "its DecayCorrection is NONE, not START or ADMIN"),
        ({}, {"Units": "PROPCPS"}, "its Units are PROPCPS, not BQML, CNTS or GML"),
        ({}, {"Units": "GML", "SUVType": "LBM"}, "holds SUVs of the kind LBM, not by body weight"),
        ({}, {"Modality": "CT"}, "it is CT, not PT"),
        (
            {"RadiopharmaceuticalStartDateTime": "20200301100000"},
            {},
            "the injection at 2020-03-01 10:00:00 and the scan at 2020-03-04 11:00:00 contradict a half-life of 3600 s",
        ),
        (
            {"RadiopharmaceuticalStartDateTime": "20200304104000"},
            {},
            "RadiopharmaceuticalStartDateTime says 10:40:00 and RadiopharmaceuticalStartTime 10:00:00",
        ),
        ({"RadiopharmaceuticalStartTime": "110001"}, {}, "the injection at 2020-03-03 11:00:01 and the scan at"),
        (
            {"RadiopharmaceuticalStartTime": "noon"},
            {},
            "its RadiopharmaceuticalStartTime is '20200304noon', which is no",
        ),
        (
            {"RadiopharmaceuticalStartDateTime": "20200304100000+0200"},
            {"TimezoneOffsetFromUTC": "+0100"},
            r"is of the time zone \+0200, the rest of \+0100",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_values(tmp_path, injection, changes, message):
    with pytest.raises(UserInputError, match=message):
        factor(pet(tmp_path, injection, **changes))


def test_two_pharmaceuticals_are_refused(tmp_path):
    with pytest.raises(UserInputError, match="it names 2 radiopharmaceuticals, not 1"):
        factor(pet(tmp_path, RadiopharmaceuticalInformationSequence=2 * pharmaceutical()))


def test_slices_that_say_different_things_are_refused(tmp_path):
    folder = pet(tmp_path)
    file = sorted(folder.iterdir())[1]
    dataset = pydicom.dcmread(file)
    dataset.PatientWeight = "71"
    dataset.save_as(file)

    with pytest.raises(UserInputError, match="its slices differ in PatientWeight"):
        factor(folder)


def test_of_several_channels_the_pet_alone_becomes_suv(tmp_path):
    ct = write_ct_series(tmp_path / "ct", VOXELS).folder

    channels = read_source_volume([ct, pet(tmp_path)], suv=True).channels

    assert np.array_equal(channels[0], VOXELS)
    assert np.allclose(channels[1], VOXELS * FACTOR, rtol=1e-6)
    with pytest.raises(UserInputError, match="--suv is for a DICOM folder of a PET, and --image names none"):
        read_source_volume([ct], suv=True)
