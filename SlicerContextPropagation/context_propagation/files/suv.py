"""Standardised uptake values by body weight, from the headers of a DICOM PET.

SUV = activity concentration [Bq/ml] * body weight [g] / injected activity [Bq], both activities of one time.

Source: QIBA, FDG-PET/CT Profile 1.13, appendix G ("Vendor-neutral pseudo-code for SUV calculation"); DICOM PS3.3
C.8.9.1 (PET Series) and C.8.9.2 (PET Isotope).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_files import damage_named, read_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

SUV_UNITS, ACTIVITY_UNITS, PHILIPS_COUNTS = "GML", "BQML", "CNTS"


PHILIPS_SUV_FACTOR = (0x7053, "Philips PET Private Group", 0x00)


GE_SCAN_START = (0x0009, "GEMS_PETD_01", 0x0D)
"""Private attributes in which two makers keep what the standard has no place for: group, maker, element."""


MOST_HALF_LIVES = 10
"""Between injection and scan: a thousandth is left; more is another day's date."""


LEAST_DOSE_BQ = 1e5
"""A dose in MBq, as some write it, would make SUVs a million times too large."""


MOST_WEIGHT_KG = 500.0


SAME_SECONDS = 60.0
"""How far two notes of one injection's time may lie apart."""


DECISIVE = (
    *("Units", "SUVType", "DecayCorrection", "PatientWeight", "SeriesDate", "SeriesTime"),
    "RadiopharmaceuticalInformationSequence",
)
"""What all slices of a series must say alike."""


def pet_units(file: Path) -> str:
    """The units of a PET slice, such as BQML; empty where the file is no PET."""
    with damage_named(f"DICOM file '{file}'"):
        dataset = read_dicom(file, with_voxels=False)
        return str(dataset.get("Units", "") or "unknown") if dataset.get("Modality", "") == "PT" else ""


def suv_factor(files: Sequence[Path], what: str) -> float:
    """By what the voxels of a PET series, rescaled to its units, are multiplied to become SUVs by body weight.

    Args:
        files: All slices.
        what: Starts a message, such as "DICOM folder 'pet'".

    Raises:
        UserInputError: What it is computed from is missing, contradictory, or differs between slices.
    """
    with damage_named(what):
        slices = [read_dicom(file, with_voxels=False) for file in files]
        for keyword in DECISIVE:
            if len({str(dataset.get(keyword, "")) for dataset in slices}) > 1:
                raise UserInputError(f"{what} cannot become SUV: its slices differ in {keyword}; export it again")
        first = slices[0]
        if first.get("Modality", "") != "PT":
            raise UserInputError(f"{what} cannot become SUV: it is {first.get('Modality', '') or 'no'}, not PT")
        return _factor(first, slices, what)


def _factor(first: Dataset, slices: Sequence[Dataset], what: str) -> float:
    units = str(_given(first, "Units", what))
    if units == SUV_UNITS:
        if first.get("SUVType", "BW") not in ("", "BW"):
            raise UserInputError(f"{what} holds SUVs of the kind {first.SUVType}, not by body weight; export it as BW")
        return 1.0
    if units == PHILIPS_COUNTS:
        factors = {float(_private(one, PHILIPS_SUV_FACTOR) or 0) for one in slices}
        if len(factors) > 1:
            raise UserInputError(
                f"{what} cannot become SUV: its slices differ in their factor (7053,xx00); export it again"
            )
        (factor,) = factors
        if not 0 < factor < math.inf:
            raise UserInputError(f"{what} cannot become SUV: it holds counts, and no factor to SUV (7053,xx00)")
        return factor
    if units != ACTIVITY_UNITS:
        raise UserInputError(f"{what} cannot become SUV: its Units are {units:.20}, not BQML, CNTS or GML")
    weight_kg = _number(first, "PatientWeight", what, MOST_WEIGHT_KG)
    return 1000 * weight_kg / _activity_at_reference(first, slices, what)


def _activity_at_reference(first: Dataset, slices: Sequence[Dataset], what: str) -> float:
    """What is left of the injected activity, in Bq, at the time to which the image is corrected for decay."""
    corrected = first.get("CorrectedImage", None) or []
    if "DECY" not in ([corrected] if isinstance(corrected, str) else corrected):
        raise UserInputError(f"{what} cannot become SUV: CorrectedImage does not say that decay was corrected (DECY)")
    correction = str(_given(first, "DecayCorrection", what))
    pharmaceuticals = _given(first, "RadiopharmaceuticalInformationSequence", what)
    if len(pharmaceuticals) != 1:
        raise UserInputError(f"{what} cannot become SUV: it names {len(pharmaceuticals)} radiopharmaceuticals, not 1")
    (given,) = pharmaceuticals
    dose_bq = _number(given, "RadionuclideTotalDose", what)
    if dose_bq < LEAST_DOSE_BQ:
        raise UserInputError(
            f"{what} cannot become SUV: its RadionuclideTotalDose is {dose_bq:g} Bq, which looks like MBq; correct it"
        )
    if correction == "ADMIN":
        return dose_bq
    if correction != "START":
        raise UserInputError(f"{what} cannot become SUV: its DecayCorrection is {correction:.20}, not START or ADMIN")
    half_life_s = _number(given, "RadionuclideHalfLife", what)
    start = _scan_start(first, slices, what)
    injected = _injected(given, first, start, what)
    passed_s = (start - injected).total_seconds()
    if not 0 <= passed_s <= MOST_HALF_LIVES * half_life_s:
        raise UserInputError(
            f"{what} cannot become SUV: the injection at {injected:%Y-%m-%d %H:%M:%S} and the scan at "
            f"{start:%Y-%m-%d %H:%M:%S} contradict a half-life of {half_life_s:g} s; correct date and time"
        )
    return dose_bq * 2 ** (-passed_s / half_life_s)


def _scan_start(first: Dataset, slices: Sequence[Dataset], what: str) -> datetime:
    """The time to which START corrects: the series' own, unless that was made anew after the scan."""
    series = _time(first, "SeriesDate", "SeriesTime", what)
    acquired = min(_time(dataset, "AcquisitionDate", "AcquisitionTime", what) for dataset in slices)
    if series <= acquired:
        return series
    kept = _private(first, GE_SCAN_START)
    if kept:
        return _parsed(kept, "scan time (0009,xx0d)", what)
    raise UserInputError(
        f"{what} cannot become SUV: SeriesTime ({series:%H:%M:%S}) lies after AcquisitionTime ({acquired:%H:%M:%S}), "
        "so that the time to which decay was corrected is not said; export the original series"
    )


def _injected(given: Dataset, first: Dataset, start: datetime, what: str) -> datetime:
    whole, clock = (
        str(given.get(f"RadiopharmaceuticalStart{kind}", None) or "").strip() for kind in ("DateTime", "Time")
    )
    offset = re.search(r"[+-]\d{4}$", whole)
    own_offset = str(first.get("TimezoneOffsetFromUTC", "") or (offset.group() if offset else ""))
    if offset and offset.group() != own_offset:
        raise UserInputError(
            f"{what} cannot become SUV: RadiopharmaceuticalStartDateTime is of the time zone {offset.group()}, the "
            f"rest of {own_offset}; correct it"
        )
    if not whole and not clock:
        raise _missing("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime", what)
    by_clock = _parsed(f"{start:%Y%m%d}{clock}", "RadiopharmaceuticalStartTime", what) if clock else None
    if by_clock is not None and not whole:
        return by_clock - timedelta(days=by_clock > start)  # injected before midnight
    by_date = _parsed(whole[: offset.start()] if offset else whole, "RadiopharmaceuticalStartDateTime", what)
    if by_clock is not None:
        apart_s = abs((by_date - by_clock).total_seconds()) % 86400
        if min(apart_s, 86400 - apart_s) > SAME_SECONDS:
            raise UserInputError(
                f"{what} cannot become SUV: RadiopharmaceuticalStartDateTime says {by_date:%H:%M:%S} and "
                f"RadiopharmaceuticalStartTime {by_clock:%H:%M:%S}; correct one of them"
            )
    return by_date


def _private(dataset: Dataset, place: tuple[int, str, int]) -> str:
    """A private attribute as text; empty where it is missing."""
    group, maker, element = place
    try:
        value = dataset.private_block(group, maker)[element].value
    except KeyError:
        return ""
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else str(value)


def _given(dataset: Dataset, keyword: str, what: str) -> object:
    value = dataset.get(keyword, None)
    if value is None or value == "" or value == []:
        raise _missing(keyword, what)
    return value


def _number(dataset: Dataset, keyword: str, what: str, most: float = math.inf) -> float:
    value = float(str(_given(dataset, keyword, what)))
    if not 0 < value < math.inf or value > most:
        raise UserInputError(f"{what} cannot become SUV: its {keyword} is {value:g}; correct it")
    return value


def _time(dataset: Dataset, date: str, time: str, what: str) -> datetime:
    return _parsed(f"{_given(dataset, date, what)}{_given(dataset, time, what)}", time, what)


def _parsed(text: str, keyword: str, what: str) -> datetime:
    """A date and time as DICOM writes them, to the second or finer."""
    found = re.fullmatch(r"(\d{14})(\.\d{1,6})?", text.strip())
    try:
        whole = datetime.strptime(found.group(1), "%Y%m%d%H%M%S") if found else None
    except ValueError:
        whole = None
    if found is None or whole is None:
        raise UserInputError(f"{what} cannot become SUV: its {keyword} is '{text:.40}', which is no date and time")
    return whole.replace(microsecond=round(float(found.group(2) or 0) * 1e6) % 1_000_000)


def _missing(keyword: str, what: str) -> UserInputError:
    return UserInputError(f"{what} cannot become SUV: it has no {keyword}; export it with that, or give a PET in SUV")
