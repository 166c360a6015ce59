"""Eq. 4 and several edits on tiny volumes worked by hand: 6 slices of 1 x 3 voxels, or 3 x 3 x 3."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.composition import compose, composed_box, drawn_voxels
from context_propagation.core.propagation.edit_record import EditRecord, NearLabels, superseded
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.update_settings import UpdateReport


def volume(*rows: str) -> np.ndarray:
    """One string per slice k, e.g. "0110", as bool `[K, 1, I]`."""
    return np.array([[[c == "1" for c in row]] for row in rows])


def drawn(index: int, row: str) -> SliceEdit:
    return SliceEdit(0, index, volume(row)[0])


def near(index: int, row: str, changed: str | None = None) -> NearLabels:
    labels = volume(row)
    return NearLabels(index, ((index, index + 1), (0, 1), (0, len(row))), labels, volume(changed or "1" * len(row)))


def rows_of(labels: np.ndarray) -> list[str]:
    return ["".join("01"[int(v)] for v in row[0]) for row in labels]


UNTOUCHED = volume("000", "000", "000", "000", "000", "000")


def test_without_edits_the_untouched_labels_stay():
    window_prediction = volume("010", "111", "001")

    assert rows_of(compose(window_prediction, ())) == ["010", "111", "001"]


def test_near_slices_take_the_update_far_slices_stay_and_the_drawing_is_exact():
    # update says 110 on 1, 2, 3; the drawing on 2 says 011; 0, 4 and 5 are far
    record = EditRecord((drawn(2, "011"),), 1, (near(1, "110"), near(2, "110"), near(3, "110")))

    assert rows_of(compose(UNTOUCHED, (record,))) == ["000", "110", "011", "110", "000", "000"]


def test_an_update_can_also_take_voxels_away():
    record = EditRecord((drawn(1, "000"),), 1, (near(0, "100"), near(1, "000"), near(2, "001")))

    assert rows_of(compose(volume("111", "111", "111", "111"), (record,))) == ["100", "000", "001", "111"]


def test_labels_beyond_the_neighbours_are_not_used():
    # both neighbours are decoded and only 0 of them is asked for
    record = EditRecord((drawn(2, "010"),), 0, (near(1, "111"), near(2, "111"), near(3, "111")))

    assert rows_of(compose(UNTOUCHED, (record,))) == ["000", "000", "010", "000", "000", "000"]


def test_only_changed_voxels_of_a_window_count():
    left = near(1, "111", changed="100")
    right = near(1, "001", changed="011")
    record = EditRecord((drawn(0, "000"),), 1, (left, right))

    assert rows_of(compose(UNTOUCHED, (record,)))[1] == "101"


def test_the_first_edit_keeps_its_near_slices():
    # N(1) = 0, 1, 2 and N(3) = 2, 3, 4: slice 2 belongs to the first edit
    first = EditRecord((drawn(1, "100"),), 1, (near(0, "100"), near(1, "100"), near(2, "100")))
    second = EditRecord((drawn(3, "001"),), 1, (near(2, "001"), near(3, "001"), near(4, "001")))

    assert rows_of(compose(UNTOUCHED, (first, second))) == ["100", "100", "100", "001", "001", "000"]
    assert rows_of(compose(UNTOUCHED, (second, first))) == ["100", "100", "001", "001", "001", "000"]


def test_a_near_slice_stays_with_the_first_edit_even_where_that_changed_nothing():
    # The first edit's update flipped nothing: no near labels, and its N still belongs to it
    first = EditRecord((drawn(1, "000"),), 1, ())
    second = EditRecord((drawn(3, "111"),), 1, (near(2, "111"), near(3, "111"), near(4, "111")))

    assert rows_of(compose(UNTOUCHED, (first, second))) == ["000", "000", "000", "111", "111", "000"]


def test_a_slice_drawn_inside_an_earlier_neighbourhood_is_exact():
    first = EditRecord((drawn(1, "100"),), 1, (near(0, "100"), near(1, "100"), near(2, "100")))
    second = EditRecord((drawn(2, "011"),), 1, (near(1, "011"), near(2, "011"), near(3, "010")))

    assert rows_of(compose(UNTOUCHED, (first, second))) == ["100", "100", "011", "010", "000", "000"]


def test_a_drawn_slice_stays_exact_under_a_later_edit_beside_it():
    first = EditRecord((drawn(2, "101"),), 0, (near(2, "000"),))
    second = EditRecord((drawn(3, "111"),), 1, (near(2, "111"), near(3, "111"), near(4, "111")))

    assert rows_of(compose(UNTOUCHED, (first, second))) == ["000", "000", "101", "111", "111", "000"]


def test_slices_of_one_edit_are_all_exact():
    record = EditRecord((drawn(1, "100"), drawn(3, "001")), 1, tuple(near(k, "010") for k in range(5)))

    assert rows_of(compose(UNTOUCHED, (record,))) == ["010", "100", "010", "001", "010", "000"]


def test_neighbours_end_at_the_volume():
    record = EditRecord((drawn(0, "111"), drawn(5, "111")), 2, ())

    assert record.near_indices(6) == [0, 1, 2, 3, 4, 5]
    assert EditRecord((drawn(0, "111"),), 2, ()).near_indices(6) == [0, 1, 2]


def test_where_drawings_of_two_axes_cross_the_later_one_holds():
    empty = np.zeros((3, 3, 3), bool)
    axial = EditRecord((SliceEdit(0, 1, np.ones((3, 3), bool)),), 0, ())
    coronal = EditRecord((SliceEdit(1, 2, np.zeros((3, 3), bool)),), 0, ())

    axial_last = compose(empty, (coronal, axial))
    coronal_last = compose(empty, (axial, coronal))

    assert axial_last.sum() == 9
    assert axial_last[1].all()
    assert coronal_last.sum() == 6  # 9 without the row where they cross
    assert not coronal_last[:, 2].any()


def test_near_slices_of_two_axes_cross_and_the_first_edit_holds():
    empty = np.zeros((3, 3, 3), bool)
    all_three = tuple(NearLabels(k, ((k, k + 1), (0, 3), (0, 3)), np.ones((1, 3, 3), bool), np.ones((1, 3, 3), bool))
                      for k in (0, 1))  # fmt: skip
    axial = EditRecord((SliceEdit(0, 0, np.ones((3, 3), bool)),), 1, all_three)
    none_at_all = tuple(NearLabels(j, ((0, 3), (j, j + 1), (0, 3)), np.zeros((3, 1, 3), bool), np.ones((3, 1, 3), bool))
                        for j in (1, 2))  # fmt: skip
    sagittal = EditRecord((SliceEdit(1, 2, np.zeros((3, 3), bool)),), 1, none_at_all)

    labels = compose(empty, (axial, sagittal))

    assert labels[:2, :2].all()  # j = 0 and 1 on k = 0 and 1: the axial edit was first
    assert not labels[:, 2].any()  # drawn
    assert not labels[2].any()  # far from the axial edit


def test_a_redrawn_slice_replaces_the_first_drawing_and_its_update():
    first = EditRecord((drawn(2, "100"),), 1, (near(1, "100"), near(2, "100"), near(3, "100")))
    kept = superseded((first,), (drawn(2, "011"),))
    again = EditRecord((drawn(2, "011"),), 1, (near(1, "011"), near(2, "011"), near(3, "010")))

    assert kept == ()
    assert rows_of(compose(UNTOUCHED, (*kept, again))) == ["000", "011", "011", "010", "000", "000"]


def test_redrawing_one_of_two_slices_keeps_the_other():
    # N(1) and N(4) with one neighbour: after slice 4 is redrawn, only 0, 1, 2 belong to the first edit
    first = EditRecord((drawn(1, "100"), drawn(4, "100")), 1, tuple(near(k, "100") for k in range(6)))
    kept = superseded((first,), (drawn(4, "001"),))
    again = EditRecord((drawn(4, "001"),), 1, tuple(near(k, "001") for k in (3, 4, 5)))

    assert [[edit.index for edit in record.edits] for record in kept] == [[1]]
    assert rows_of(compose(UNTOUCHED, (*kept, again))) == ["100", "100", "100", "001", "001", "001"]


def test_a_slice_of_another_axis_supersedes_nothing():
    first = EditRecord((drawn(2, "100"),), 1, ())

    assert superseded((first,), (SliceEdit(1, 2, np.zeros((6, 3), bool)),)) == (first,)


def test_composition_leaves_its_input_alone():
    window_prediction = UNTOUCHED.copy()
    compose(window_prediction, (EditRecord((drawn(2, "111"),), 1, (near(1, "111"),)),))

    assert not window_prediction.any()


def test_drawn_voxels_are_the_drawn_planes():
    records = (EditRecord((SliceEdit(0, 1, np.zeros((3, 3), bool)),), 2, ()),
               EditRecord((SliceEdit(2, 0, np.ones((3, 3), bool)),), 2, ()))  # fmt: skip

    marked = drawn_voxels((3, 3, 3), records)

    assert marked.sum() == 9 + 9 - 3
    assert marked[1].all()
    assert marked[:, :, 0].all()


SATISFIED = (UpdateReport(0.0, 0.0, 0, "already satisfied"),)


def test_an_edit_that_was_satisfied_already_leaves_its_near_slices_to_a_later_one():
    first = EditRecord((drawn(1, "000"),), 1, (), SATISFIED)
    second = EditRecord((drawn(3, "111"),), 1, (near(2, "111"), near(3, "111"), near(4, "111")))

    assert rows_of(compose(UNTOUCHED, (first, second))) == ["000", "000", "111", "111", "111", "000"]


def test_an_edit_that_was_satisfied_already_leaves_no_seam_in_a_crossing_one_but_is_as_drawn():
    empty = np.zeros((3, 3, 3), bool)
    satisfied = EditRecord((SliceEdit(0, 0, np.zeros((3, 3), bool)),), 1, (), SATISFIED)
    columns = tuple(NearLabels(j, ((0, 3), (j, j + 1), (0, 3)), np.ones((3, 1, 3), bool), np.ones((3, 1, 3), bool))
                    for j in (1, 2))  # fmt: skip
    crossing = EditRecord((SliceEdit(1, 2, np.ones((3, 3), bool)),), 1, columns)

    labels = compose(empty, (satisfied, crossing))

    assert not labels[0, :2].any()  # drawn, and not crossed by the later drawing
    assert labels[1:, 1].all()  # k = 1 is beside the satisfied slice, k = 2 is not
    assert labels[:, 2].all()


# ---- far slices


def far(*rows: list[float]) -> Margins:
    """Margins of the slices 0, 1, ... on the 1 x 3 voxels of each; nan where no window decodes."""
    margins = np.array(rows, np.float16)[:, None, :]
    return Margins(((0, len(rows)), (0, 1), (0, 3)), margins)


NAN = float("nan")
SILENT = [0.0, 0.0, 0.0]


def test_a_far_voxel_flips_only_where_the_margin_is_beyond_the_far_threshold():
    # R_0 is 101 everywhere; N(0) = 0; far thresholds 0.2, whole from the sixth far slice on
    nearer = [SILENT] * 5
    beyond = [[0.1, 0.1, 0.1], [-0.1, -0.1, -0.1], [0.3, 0.3, 0.3], [-0.3, -0.3, -0.3], [0.25, NAN, -0.25]]
    record = EditRecord((drawn(0, "101"),), 0, (), far=far(SILENT, *nearer, *beyond))

    labels = rows_of(compose(volume(*["101"] * 11), (record,), far_thresholds=FarThresholds(0.2, 0.2)))

    assert labels == [*["101"] * 8, "111", "000", "100"]


def test_the_thresholds_grow_with_the_way_to_the_near_slices():
    """Thresholds 0.6, N(3) = 2 to 4: a sixth of them counts on slices 1 and 5, two on 0 and 6, and all from 10 on."""
    beyond = [[0.02 + 0.1 * sixths, 0.1 * sixths - 0.02, -0.1 * sixths - 0.02] for sixths in (2, 1, 0, 0, 0)]
    beyond += [[0.02 + 0.1 * sixths, 0.1 * sixths - 0.02, -0.1 * sixths - 0.02] for sixths in (1, 2, 3, 4, 5, 6, 6)]
    record = EditRecord((drawn(3, "000"),), 1, (), far=far(*beyond))

    labels = rows_of(compose(volume(*["001"] * 12), (record,), far_thresholds=FarThresholds(0.6, 0.6)))

    assert labels == ["100", "100", "001", "000", "001", *["100"] * 7]


def test_of_several_edits_the_nearest_slice_decides_how_much_of_the_thresholds_counts():
    """Slice 2 is two away from a near slice of the first edit, and its column 1 one away from the second's."""
    first = EditRecord((drawn(0, "000"),), 0, (), far=far(SILENT, SILENT, [0.15, 0.15, 0.15]))
    second = EditRecord((SliceEdit(2, 0, np.zeros((3, 1), bool)),), 0, ())

    labels = rows_of(compose(volume("000", "000", "000"), (first, second), FarThresholds(0.6, 0.6)))

    assert labels == ["000", "000", "010"]


def test_thresholds_of_1_change_nothing_next_to_a_near_slice_either():
    record = EditRecord((drawn(0, "101"),), 0, (), far=far(SILENT, [-1.0, 1.0, -1.0]))

    assert rows_of(compose(volume("101", "101"), (record,), FarThresholds(1.0, 1.0)))[1] == "101"


def test_without_a_far_threshold_the_sign_decides_and_zero_keeps_the_label():
    record = EditRecord((drawn(0, "000"),), 0, (), far=far(SILENT, [0.001, 0.0, -0.001]))

    assert rows_of(compose(volume("000", "011"), (record,)))[1] == "110"
    assert rows_of(compose(volume("000", "001"), (record,)))[1] == "100"


def test_near_slices_do_not_take_the_fused_features():
    everywhere = far(*[[1.0, 1.0, 1.0]] * 6)
    record = EditRecord((drawn(2, "000"),), 1, (near(1, "010"), near(3, "000")), far=everywhere)

    assert rows_of(compose(UNTOUCHED, (record,))) == ["111", "010", "000", "000", "111", "111"]


def test_far_slices_are_far_from_every_edit():
    everywhere = far(*[[1.0, 1.0, 1.0]] * 6)
    first = EditRecord((drawn(0, "000"),), 1, (), far=everywhere)
    second = EditRecord((drawn(5, "000"),), 1, (), far=everywhere)

    assert rows_of(compose(UNTOUCHED, (first, second))) == ["000", "000", "111", "111", "000", "000"]


def test_far_slices_average_the_edits_or_follow_the_latest():
    # mean of 0.9 and -0.5 is 0.2; of 0.1 and -0.5 is -0.2; where only one decodes, it speaks alone
    first = EditRecord((drawn(0, "000"),), 0, (), far=far(SILENT, [0.9, 0.1, 0.9]))
    second = EditRecord((drawn(0, "000"),), 0, (), far=far(SILENT, [-0.5, -0.5, NAN]))
    window_prediction = volume("000", "010")

    assert rows_of(compose(window_prediction, (first, second), far_thresholds=FarThresholds(0.1, 0.1)))[1] == "101"
    assert (
        rows_of(compose(window_prediction, (first, second), far_thresholds=FarThresholds(0.1, 0.1), far_rule="latest"))[
            1
        ]
        == "000"
    )
    assert (
        rows_of(compose(window_prediction, (second, first), far_thresholds=FarThresholds(0.1, 0.1), far_rule="latest"))[
            1
        ]
        == "111"
    )


def test_edits_that_decode_other_boxes_are_averaged_where_they_overlap():
    wide = EditRecord((drawn(0, "000"),), 0, (), far=far(SILENT, [0.4, 0.4, 0.4], [0.4, 0.4, 0.4]))
    small = Margins(((1, 2), (0, 1), (1, 3)), np.array([[[-0.8, -0.2]]], np.float16))
    record = EditRecord((drawn(0, "000"),), 0, (), far=small)

    assert rows_of(compose(volume("000", "000", "000"), (wide, record))) == ["000", "101", "111"]


def test_an_edit_that_was_satisfied_already_moves_no_far_slice():
    everywhere = far(*[[1.0, 1.0, 1.0]] * 6)
    first = EditRecord((drawn(0, "000"),), 1, (), far=everywhere)
    satisfied = EditRecord((drawn(4, "000"),), 1, (), (UpdateReport(0.0, 0.0, 0, "already satisfied"),))

    for rule in ("average", "latest"):
        labels = compose(UNTOUCHED, (first, satisfied), far_rule=rule)
        assert rows_of(labels) == ["000", "000", "111", "111", "000", "111"]


# ---- the order of drawing


def test_the_order_of_drawing_decides_at_crossings_not_the_order_of_records():
    empty = np.zeros((3, 3, 3), bool)
    # drawn: k = 0 first, then j = 2, then k = 1, which joined the first record
    coronal = EditRecord((SliceEdit(1, 2, np.zeros((3, 3), bool)),), 0, (), drawn_at=(2,))
    joint = EditRecord(
        (SliceEdit(0, 0, np.ones((3, 3), bool)), SliceEdit(0, 1, np.ones((3, 3), bool))), 0, (), drawn_at=(1, 3)
    )

    for records in ((coronal, joint), (joint, coronal)):
        labels = compose(empty, records)
        assert labels[1].all()
        assert labels[0, :2].all()
        assert not labels[0, 2].any()


def test_near_slices_at_a_crossing_belong_to_the_slice_that_was_drawn_first():
    def near_on(index, value):
        full = np.ones((1, 3, 3), bool)
        return NearLabels(index, ((index, index + 1), (0, 3), (0, 3)), full & value, full)

    # k = 0 drawn first, j = 0 second, k = 4 third in one record with k = 0; all near slices say True, those of j False
    joint = EditRecord(
        (SliceEdit(0, 0, np.ones((3, 3), bool)), SliceEdit(0, 4, np.ones((3, 3), bool))),
        1,
        tuple(near_on(k, True) for k in (0, 1, 3, 4)),
        drawn_at=(1, 3),
    )
    second = NearLabels(1, ((0, 5), (1, 2), (0, 3)), np.zeros((5, 1, 3), bool), np.ones((5, 1, 3), bool))
    coronal = EditRecord((SliceEdit(1, 0, np.zeros((5, 3), bool)),), 1, (second,), drawn_at=(2,))

    labels = compose(np.zeros((5, 3, 3), bool), (coronal, joint))

    assert labels[1, 1].all()  # near to k = 0, drawn before j = 0
    assert not labels[3, 1].any()  # near to k = 4, drawn after it
    assert labels[3, 2].all()


def test_a_redrawn_slice_takes_its_drawing_time_along():
    record = EditRecord((drawn(1, "100"), drawn(4, "100")), 1, (), drawn_at=(3, 7))

    assert [left.drawn_at for left in superseded((record,), (drawn(1, "001"),))] == [(7,)]


# ---- in a box


SHAPE = (5, 4, 6)
BOXES = st.tuples(
    *[st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda span: span[0] < span[1]) for n in SHAPE]
)


@st.composite
def edit_records(draw):
    """A record of one or two slices on any axis, near slices and far margins in boxes of their own."""
    rng, axis = np.random.default_rng(draw(st.integers(0, 2**16))), draw(st.integers(0, 2))
    indices = draw(st.lists(st.integers(0, SHAPE[axis] - 1), min_size=1, max_size=2, unique=True))
    plane = tuple(n for a, n in enumerate(SHAPE) if a != axis)
    edits = tuple(SliceEdit(axis, index, rng.random(plane) < 0.4) for index in indices)
    near_labels = []
    for index in rng.choice(SHAPE[axis], 2, replace=False).tolist():
        spans = list(draw(BOXES))
        spans[axis] = (index, index + 1)
        size = tuple(stop - start for start, stop in spans)
        near_labels.append(NearLabels(index, tuple(spans), rng.random(size) < 0.5, rng.random(size) < 0.7))
    box = draw(BOXES)
    values = rng.choice([-0.5, -0.1, 0.1, 0.5, np.nan], [stop - start for start, stop in box]).astype(np.float16)
    far_margins = Margins(box, values) if draw(st.booleans()) else None
    order = tuple(rng.integers(0, 9, len(edits)).tolist())
    satisfied = (UpdateReport(0.0, 0.0, 0, "already satisfied"),) if draw(st.integers(0, 4)) == 0 else ()
    return EditRecord(edits, draw(st.integers(0, 1)), tuple(near_labels), satisfied, order, (), far_margins)


def label_by_rule(voxel, label, records, thresholds, rule):
    """Eq. 4 and the rule for several edits on one voxel, as the docstring of `compose` says it."""
    drawings = sorted(((at, r, e) for r in records for at, e in r.drawings()), key=lambda drawing: drawing[0])
    crossing = [edit for _, _, edit in drawings if voxel[edit.axis] == edit.index]
    if crossing:
        last = crossing[-1]
        return last.mask[tuple(v for axis, v in enumerate(voxel) if axis != last.axis)]
    for _, record, edit in drawings:
        if not record.satisfied and abs(voxel[edit.axis] - edit.index) <= record.neighbours:
            for one in record.near:
                inside = tuple(v - start for v, (start, _) in zip(voxel, one.box, strict=True))
                within = all(start <= v < stop for v, (start, stop) in zip(voxel, one.box, strict=True))
                if one.index == voxel[edit.axis] and within and one.changed[inside]:
                    label = one.labels[inside]
            return label
    spoken = [record.far for record in records if record.far is not None]
    said = []
    for one in spoken[-1:] if rule == "latest" else spoken:
        if all(start <= v < stop for v, (start, stop) in zip(voxel, one.box, strict=True)):
            said.append(float(one.values[tuple(v - start for v, (start, _) in zip(voxel, one.box, strict=True))]))
    known = [value for value in said if not np.isnan(value)]
    mean = np.mean(known) if known else 0.0
    ways = [abs(voxel[e.axis] - e.index) - r.neighbours for _, r, e in drawings if not r.satisfied]
    share = min([way / 6 for way in ways] + [1.0])
    return True if mean > share * thresholds.add else False if mean < -share * thresholds.remove else label


@settings(max_examples=60, deadline=None)
@given(records=st.lists(edit_records(), max_size=3), box=BOXES, rule=st.sampled_from(["average", "latest"]))
def test_each_voxel_of_any_box_is_as_the_rule_says_and_outside_the_composed_box_as_before(records, box, rule):
    window_prediction = np.random.default_rng(0).random(SHAPE) < 0.5
    thresholds = FarThresholds(0.15, 0.25)
    expected = np.array(
        [label_by_rule(v, window_prediction[v], records, thresholds, rule) for v in np.ndindex(SHAPE)]
    ).reshape(SHAPE)

    assert np.array_equal(compose(window_prediction, records, thresholds, rule), expected)
    assert np.array_equal(compose(window_prediction, records, thresholds, rule, box), expected[slices_of(box)])
    outside = np.ones(SHAPE, bool)
    composed = composed_box(window_prediction, records)
    if composed is not None:
        outside[slices_of(composed)] = False
    assert np.array_equal(expected[outside], window_prediction[outside])
    assert np.array_equal(drawn_voxels(SHAPE, records, box), drawn_voxels(SHAPE, records)[slices_of(box)])
