import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.segmentation_storage import (
    NamedMask,
    load_segmentation,
    write_seg_nrrd,
)
from seg_nrrd import read_seg_nrrd


def segments_of(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]


def test_a_file_keeps_voxels_name_and_color(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"

    write_seg_nrrd(path, [NamedMask(case.target, "GTV größer", (0.2, 0.4, 0.6))], case.source)

    (segment,) = segments_of(load_segmentation(case.scene, path))
    assert segment.GetName() == "GTV größer"
    assert segment.GetColor() == pytest.approx((0.2, 0.4, 0.6), abs=1e-4)
    assert np.array_equal(read_seg_nrrd(path, None, case.source), case.target)


def test_overlapping_segments_survive(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"
    other = np.roll(case.target, 2, axis=2)

    write_seg_nrrd(path, [NamedMask(case.target, "A"), NamedMask(other, "B")], case.source)

    assert np.array_equal(read_seg_nrrd(path, "A", case.source), case.target)
    assert np.array_equal(read_seg_nrrd(path, "B", case.source), other)


def test_an_empty_segment_survives(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"

    write_seg_nrrd(path, [NamedMask(np.zeros(case.shape, bool), "Empty")], case.source)

    assert not read_seg_nrrd(path, "Empty", case.source).any()


def test_a_file_is_read_onto_another_grid(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, [NamedMask(case.target, "A")], case.source)
    flipped = case.source.ijk_to_lps @ np.diag([-1, 1, 1, 1])
    flipped[:, 3] = case.source.ijk_to_lps @ (case.shape[2] - 1, 0, 0, 1)

    mask = read_seg_nrrd(path, "A", SourceVolume(case.source.channels, flipped))

    assert np.array_equal(mask, case.target[:, :, ::-1])


def test_writing_leaves_no_temporary_file_and_replaces_the_old_one(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"
    for mask in (case.target, ~case.target):
        write_seg_nrrd(path, [NamedMask(mask, "A")], case.source)

    assert [p.name for p in tmp_path.iterdir()] == ["case.seg.nrrd"]
    assert np.array_equal(read_seg_nrrd(path, "A", case.source), ~case.target)


def test_the_old_file_is_replaced_in_one_step_and_not_overwritten(case, tmp_path):
    path, link = tmp_path / "case.seg.nrrd", tmp_path / "link.seg.nrrd"
    write_seg_nrrd(path, [NamedMask(case.target, "A")], case.source)
    link.hardlink_to(path)

    write_seg_nrrd(path, [NamedMask(~case.target, "A")], case.source)

    assert np.array_equal(read_seg_nrrd(link, "A", case.source), case.target)


def test_a_failed_write_leaves_the_old_file_alone(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, [NamedMask(case.target, "A")], case.source)
    old = path.read_bytes()

    with pytest.raises(UserInputError, match="shape"):
        write_seg_nrrd(path, [NamedMask(case.target[1:], "A")], case.source)
    assert path.read_bytes() == old


def test_several_segments_need_a_name(case, tmp_path):
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, [NamedMask(case.target, "A"), NamedMask(case.target, "B")], case.source)

    with pytest.raises(UserInputError, match="has 2 segments; name one of: 'A', 'B'"):
        read_seg_nrrd(path, None, case.source)
    with pytest.raises(UserInputError, match="has 0 segments named 'C'; name one of: 'A', 'B'"):
        read_seg_nrrd(path, "C", case.source)


@pytest.mark.parametrize(
    ("name", "message"),
    [("case.nii.gz", r"does not end in .seg.nrrd"), ("nowhere/case.seg.nrrd", "does not exist")],
)
def test_paths_that_cannot_be_written_are_named(case, tmp_path, name, message):
    with pytest.raises(UserInputError, match=message):
        write_seg_nrrd(tmp_path / name, [NamedMask(case.target, "A")], case.source)


def test_no_segment_is_refused(case, tmp_path):
    with pytest.raises(UserInputError, match="at least one segment"):
        write_seg_nrrd(tmp_path / "case.seg.nrrd", [], case.source)


def test_files_that_cannot_be_read_are_named(case, tmp_path):
    (tmp_path / "broken.seg.nrrd").write_text("no nrrd")

    with pytest.raises(UserInputError, match="There is no file"):
        read_seg_nrrd(tmp_path / "missing.seg.nrrd", None, case.source)
    with pytest.raises(UserInputError, match="truncated or damaged"):
        read_seg_nrrd(tmp_path / "broken.seg.nrrd", None, case.source)


@pytest.mark.parametrize(
    ("entry", "damaged"),
    [
        (b"Segment0_Extent:=", b"Segment0_Extent:=0 1 0 1 0\n"),
        (b"Segment0_Extent:=", b"Segment0_Extent:=0 1 0 1 0 700\n"),
        (b"Segment0_LabelValue:=", b"Segment0_LabelValue:=one\n"),
        (b"Segment0_Layer:=", b"Segment0_Layer:=\n"),
    ],
)
def test_a_header_that_places_a_segment_nowhere_is_refused_before_slicer_reads_it(case, tmp_path, entry, damaged):
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, [NamedMask(case.target, "GTV")], case.source)
    lines = path.read_bytes().split(b"\n\n", 1)[0].split(b"\n")
    whole = next(line for line in lines if line.startswith(entry))
    path.write_bytes(path.read_bytes().replace(whole + b"\n", damaged, 1))

    with pytest.raises(UserInputError, match=rf"is damaged: {entry.decode()[:-2]} is '"):
        load_segmentation(case.scene, path)
