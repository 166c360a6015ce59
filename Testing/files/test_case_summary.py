"""The page for the record; its figures worked out by hand on two boxes."""

import base64
import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.saved_session import SavedPropagation, SavedSession
from context_propagation.files.case_measures import Case, case_measures
from context_propagation.files.case_page import case_page
from context_propagation.files.case_summary import case_summary
from context_propagation.files.self_contained_page import check_page_ending, self_contained_page
from summary_pages import SummaryPage, without_pictures

pytest.importorskip("monai")
pytest.importorskip("matplotlib")

SHAPE = (6, 8, 10)
SPACING_KJI = (3.0, 2.0, 1.0)


def box(*spans, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


FIRST = box((1, 4), (2, 6), (2, 6))
FINAL = box((1, 4), (2, 6), (4, 8))


def drawn(index, axis=0, **said):
    return SavedPropagation((SliceEdit(axis, index, FINAL.take(index, axis)),), **said)


EDITS = (
    drawn(2, made_at="2026-11-29T10:00:00+00:00", scope="near slices only", changed_per_slice={1: 16, 3: 10}),
    drawn(3, made_at="2026-11-29T11:02:05+01:00", scope="whole volume (general)", changed_per_slice={1: 5}, refused=7),
)


def case(first=FIRST, final=FINAL, edits=EDITS, matrix=None, **said):
    matrix = np.diag([*SPACING_KJI[::-1], 1.0]) if matrix is None else matrix
    voxels = np.random.default_rng(0).normal(size=(1, *first.shape)).astype(np.float32)
    volume = SourceVolume(voxels, matrix)
    saved = SavedSession(
        model_path="/clinic/Roe_Jane/model",
        model_sha256="ab" * 32,
        fusion_sha256="cd" * 32,
        label="GTV",
        orientation=None,
        device="cpu",
        versions={"python": "3.11.7", "torch": "2.9.1"},
        image_sha256=image_sha256(volume),
        settings={"level": 2, "update": {"optimizer": "lbfgs", "loss": None}},
        initial=BoxedMask.of(first),
        known=BoxedMask.of(final),
        protected=BoxedMask.of(np.zeros(first.shape, bool)),
        propagations=edits,
    )
    by_hand = np.zeros(first.shape, bool)
    return replace(Case(volume, final, saved, by_hand, model_kind="nnU-Net"), **said)


def page(of, title=""):
    """Without the pictures, which take most of the time."""
    measures = case_measures(of)
    none = [b""] * len(measures.planes)
    return SummaryPage(case_page(of, measures, none, none, title))


@pytest.fixture(scope="module")
def text():
    """The page of two edits."""
    return case_summary(case())


@pytest.fixture
def shown(text):
    return SummaryPage(text)


def test_two_boxes_are_measured_as_worked_out_by_hand(shown):
    # Each has 3 x 4 x 4 voxels of 6 mm3; half of them are common; they lie 2 mm apart along i, and more than a
    # twentieth of each surface lies at the far ends.
    assert shown.value("Volume of the first contour") == "0.29 mL"
    assert shown.value("Volume of the final contour") == "0.29 mL"
    assert shown.value("Voxels added, removed") == "24, 24"
    assert shown.value("DSC") == "0.500"
    assert shown.value("Hausdorff distance, 95 %") == "2.0 mm"
    # Of the final ring's 12 pixels, 2 at i = 4, 2 at i = 6 and 4 at i = 7 are not on the first one: 8 on each of three
    # slices, each as long as the square root of 2 mm2. Two slices were drawn.
    assert shown.value("Added path length, axial") == "34 mm"
    assert shown.value("Of it, on drawn slices") == "23 mm"
    assert "they do not say how accurate either contour is" in " ".join(shown.text.split())


def test_every_edit_is_listed_with_its_time_plane_slice_reach_and_what_it_changed(shown):
    assert [row for row in shown.rows if len(row) == 8][1:] == [
        ["1", "2026-11-29 10:00:00 UTC", "axial", "2", "near slices only", "26", "2", "0"],
        ["2", "2026-11-29 10:02:05 UTC", "axial", "3", "whole volume (general)", "5", "1", "7"],
    ]
    assert shown.value("From the first to the last edit") == "0:02:05"
    assert shown.value("Edits propagated") == "2"
    assert shown.value("Slices drawn in them") == "2"


@pytest.mark.parametrize(
    ("made_at", "said"), [("2026-11-29T10:00:00", "2026-11-29 10:00:00 UTC"), ("", "not recorded")]
)
def test_a_time_without_zone_is_utc_and_none_is_said_to_be_missing(made_at, said, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    if hasattr(time, "tzset"):
        time.tzset()
    shown = page(case(edits=(drawn(2, made_at=made_at),)))
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()

    assert next(row for row in shown.rows if len(row) == 8 and row[0] == "1")[1] == said


def test_the_changes_per_slice_are_those_of_the_boxes_and_of_each_edit(shown):
    assert [row for row in shown.rows if len(row) == 7] == [
        ["Slice", "State", "Added", "Removed", "DSC", "By edit 1", "By edit 2"],
        ["1", "", "8", "8", "0.500", "16", "5"],
        ["2", "drawn", "8", "8", "0.500", "0", "0"],
        ["3", "drawn", "8", "8", "0.500", "10", "0"],
    ]


def test_image_model_programs_and_settings_are_said_by_hash_and_version(shown):
    assert shown.value("Image") == "10 x 8 x 6 voxels of 1 x 2 x 3 mm"
    assert shown.value("Image, channel 1, SHA-256") == image_sha256(case().volume)[0]
    assert shown.value("Model") == "nnU-Net"
    assert shown.value("Model, SHA-256") == "ab" * 32
    assert shown.value("Network for far slices, SHA-256") == "cd" * 32
    assert shown.value("Program torch") == "2.9.1"
    assert shown.value("Setting update.optimizer") == "lbfgs"
    assert shown.value("This extension").startswith("0.1.0, commit ")


def test_the_page_is_one_file_without_script_and_refers_to_nothing(text):
    shown = SummaryPage(text)
    assert "script" not in shown.tags
    assert len(shown.sources) == 2
    pictures = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in shown.sources]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert not any(b"http" in picture or b"atplotlib" in picture for picture in pictures)
    assert "://" not in without_pictures(text)
    assert "default-src 'none'" in text


def test_what_comes_from_outside_is_text_and_no_markup():
    evil = "<script>alert('1')</script><b>"
    of = case(edits=(drawn(2, scope=evil, made_at=evil),))
    saved = replace(of.saved, label=evil, device=evil, versions={evil: evil}, settings={evil: {evil: evil}})

    shown = page(replace(of, saved=replace(saved, fusion_sha256=evil, model_sha256=evil)), title=evil)

    assert not {"script", "b"} & set(shown.tags)
    assert shown.text.count(evil) >= 9
    assert shown.value("Model's label") == evil
    assert shown.value("From the first to the last edit") == "not recorded"


def test_only_the_title_names_somebody(text):
    assert "Roe" not in without_pictures(text)
    assert "Case summary" in SummaryPage(text).text
    assert "Case summary" in page(case(), title=" ").text

    shown = page(case(), title="Jane Roe, first plan")
    assert shown.text.count("Jane Roe, first plan") == 2  # what the browser calls it, and the heading


@pytest.mark.parametrize(("first", "final"), [(np.zeros(SHAPE, bool), FINAL), (FIRST, np.zeros(SHAPE, bool))])
def test_with_an_empty_contour_overlap_and_distance_are_not_defined(first, final):
    shown = page(case(first, final))

    assert shown.value("DSC") == "not defined, as a contour is empty"
    assert shown.value("Hausdorff distance, 95 %") == "not defined, as a contour is empty"
    assert not {"nan", "inf"} & set(shown.text.split())
    assert {row[4] for row in shown.rows if len(row) == 7} == {"DSC", "not defined"}


def test_two_empty_contours_without_an_edit_have_a_page_too():
    nothing = np.zeros(SHAPE, bool)
    shown = SummaryPage(case_summary(case(nothing, nothing, edits=())))

    assert shown.value("DSC") == "not defined, as a contour is empty"
    assert "No edit was propagated." in shown.text


def test_a_session_without_edits_says_so_and_shows_the_contour():
    shown = SummaryPage(case_summary(case(FIRST, FIRST, edits=())))

    assert "No edit was propagated." in shown.text
    assert shown.value("DSC") == "1.000"
    assert shown.value("From the first to the last edit") == "not recorded"
    assert len(shown.sources) == 1
    assert "differ most" not in shown.text


def test_the_pictures_run_through_the_slice_that_changed_most():
    final = FIRST.copy()
    final[3, 2:6, 6:9] = True
    shown = page(case(FIRST, final, edits=(drawn(2),)))

    assert "Through axial slice 3, where first and final contour differ most." in shown.text


def test_edits_in_two_planes_have_pictures_and_changes_of_each():
    shown = SummaryPage(case_summary(case(edits=(*EDITS, drawn(5, axis=2, changed_per_slice={6: 4})))))

    assert len(shown.sources) == 4
    assert ["6", "", "12", "0", "not defined", "4"] in shown.rows  # the final box alone has voxels at i = 6
    assert "Through sagittal slice" in shown.text


@pytest.mark.parametrize("orientation", ["RAS", "PIR"])
def test_the_same_patient_has_the_same_figures_however_the_array_lies(orientation):
    image = sitk.Image(*SHAPE[::-1], sitk.sitkFloat32)
    image.SetSpacing(SPACING_KJI[::-1])
    masks = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (FIRST, FINAL)]
    for mask in masks:
        mask.CopyInformation(image)
    turned = [sitk.DICOMOrient(mask, orientation) for mask in masks]
    volume = SourceVolume.from_sitk([sitk.DICOMOrient(image, orientation)])
    first, final = (sitk.GetArrayFromImage(mask).astype(bool) for mask in turned)
    axis = volume.axis_of_plane("axial")
    index = int(np.flatnonzero(final.any(axis=tuple({0, 1, 2} - {axis})))[1])
    edit = SavedPropagation((SliceEdit(axis, index, final.take(index, axis)),))

    shown = page(case(first, final, (edit,), volume.ijk_to_lps))

    assert shown.value("DSC") == "0.500"
    assert shown.value("Hausdorff distance, 95 %") == "2.0 mm"
    assert shown.value("Added path length, axial") == "34 mm"
    assert next(row for row in shown.rows if len(row) == 8 and row[0] == "1")[2:4] == ["axial", str(index)]


def test_an_oblique_image_is_measured_in_its_own_voxels():
    cosine, sine = np.cos(0.35), np.sin(0.35)
    turn = np.array([[cosine, -sine, 0, 5], [sine, cosine, 0, -3], [0, 0, 1, 7], [0, 0, 0, 1]])
    shown = page(case(matrix=turn @ np.diag([*SPACING_KJI[::-1], 1.0])))

    assert shown.value("DSC") == "0.500"
    assert shown.value("Hausdorff distance, 95 %") == "2.0 mm"
    assert shown.value("Image") == "10 x 8 x 6 voxels of 1 x 2 x 3 mm"


def test_what_was_changed_by_hand_is_counted():
    by_hand = box((1, 3), (0, 2), (0, 5))  # 20 voxels, 10 of them on slice 2, which was drawn
    shown = page(case(by_hand=by_hand, changed_since=3))

    assert shown.value("Voxels changed by hand on other slices") == "10"
    assert shown.value("Voxels changed since the last edit") == "3"
    assert page(case(changed_since=None)).value("Voxels changed since the last edit").startswith("unknown")


def test_kept_slices_are_counted_and_are_drawn_slices():
    of = case(edits=())
    saved = replace(of.saved, kept=(SliceEdit(0, 2, FINAL[2]),))
    shown = page(replace(of, saved=saved))

    assert shown.value("Slices drawn before and kept") == "1"
    assert shown.value("Of it, on drawn slices") == "11 mm"
    assert ["2", "drawn", "8", "8", "0.500"] in shown.rows


@pytest.mark.parametrize("after", [0, 1, 2])
def test_it_can_be_cancelled_before_each_picture_and_at_the_end(after):
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) > after

    with pytest.raises(Cancelled):
        case_summary(case(), cancelled=cancelled)


def test_progress_grows_and_stays_below_one():
    told = []
    case_summary(case(), progress=lambda stage, fraction: told.append((stage, fraction)))

    assert {stage for stage, _ in told} == {"summarise"}
    assert [fraction for _, fraction in told] == pytest.approx([0, 1 / 3, 2 / 3])


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UserInputError, match=r"case.pdf' is no page; end its name in \.html"):
        check_page_ending(tmp_path / "case.pdf")
    check_page_ending(tmp_path / "CASE.HTML")


def test_a_template_that_names_what_is_not_there_fails():
    undefined = pytest.importorskip("jinja2").UndefinedError
    with pytest.raises(undefined):
        self_contained_page("title", "{{ nothing }}")
