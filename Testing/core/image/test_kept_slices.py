import numpy as np

from context_propagation.core.image.slices import SliceEdit, mask_of_slices, slices_to_keep

SHAPE = (6, 7, 8)


def segment():
    mask = np.zeros(SHAPE, bool)
    mask[1:5, 2:5, 2:6] = True
    return mask


def on(mask, axis, index):
    return SliceEdit(axis, index, mask.take(index, axis))


def places(kept):
    return [(edit.axis, edit.index) for edit in kept]


def test_a_slice_that_is_as_it_was_drawn_is_kept_and_one_that_is_not_is_not():
    mask = segment()
    changed = SliceEdit(0, 3, ~mask[3])

    assert places(slices_to_keep([on(mask, 0, 2), changed], mask)) == [(0, 2)]


def test_the_last_drawing_of_a_slice_counts():
    mask = segment()
    earlier = SliceEdit(0, 2, ~mask[2])

    assert places(slices_to_keep([earlier, on(mask, 0, 2)], mask)) == [(0, 2)]
    assert places(slices_to_keep([on(mask, 0, 2), earlier], mask)) == []


def test_where_two_drawings_cross_the_later_one_counts_on_the_line_they_share():
    before, mask = segment(), segment()
    mask[:, 3] ^= True  # slice 3 along j was drawn after slice 2 along k

    kept = slices_to_keep([on(before, 0, 2), on(mask, 1, 3)], mask)

    assert places(kept) == [(0, 2), (1, 3)]
    assert np.array_equal(kept[0].mask, mask[2])


def test_redrawn_slices_are_kept_even_where_they_are_all_that_the_segment_has():
    mask = segment()

    kept = slices_to_keep([], mask, [on(mask, 0, k) for k in (1, 2, 3, 4)])

    assert places(kept) == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_an_empty_segment_keeps_nothing_although_slices_were_drawn_empty():
    empty = np.zeros(SHAPE, bool)
    assert slices_to_keep([on(empty, 0, 2)], empty) == ()


def test_the_mask_of_slices_holds_all_their_voxels():
    mask = mask_of_slices(SHAPE, [on(segment(), 0, 2), on(segment(), 2, 5)])

    assert mask.sum() == 7 * 8 + 6 * 7 - 7
    assert mask[2].all()
    assert mask[:, :, 5].all()
