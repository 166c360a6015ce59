"""What a Slicer that died left is offered for the image and segment that it is of, and for no other."""

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from several_slicers import SHAPE, files, only, plane


def test_what_another_slicer_that_runs_keeps_is_not_offered(slicers, edited, folder):
    logic = slicers.start()

    assert logic.check().kept == ()
    assert len(files(folder)) == 1

    slicers.die(edited)
    assert len(logic.check().kept) == 1


def test_another_image_is_not_offered_what_was_kept(slicers, edited, make_case):
    slicers.die(edited)
    case = make_case(shape=SHAPE)
    voxels = slicer.util.arrayFromVolume(case.volume) if hasattr(slicer.util, "arrayFromVolume") else None
    voxels[3, 3, 3] += 1
    case.volume.GetImageData().Modified()

    assert slicers.start(case=case).check().kept == ()


def test_a_segment_that_was_drawn_otherwise_is_left_alone_and_the_file_stays(slicers, edited, folder, draw_ellipsoid):
    slicers.die(edited)
    logic = slicers.start()
    stranger = draw_ellipsoid(SHAPE, (8, 8, 8), (3, 3, 3))
    logic.select([logic.case.volume], logic.case.segmentation, logic.case.add(stranger))

    offer = only(logic.check().kept)

    assert not offer.fits
    with pytest.raises(UserInputError, match="Segment 'GTV' is not as it was in that work, and is left alone"):
        logic.bring_back(offer)
    assert np.array_equal(logic.segment_mask(), stranger)
    assert len(files(folder)) == 1


def test_off_nothing_is_kept_and_what_was_left_is_offered_all_the_same(slicers, edited, folder, draw):
    slicers.die(edited)
    logic = slicers.start()
    logic.journal.keeps = False
    assert len(logic.check().kept) == 1

    logic.predict()
    logic.edit_slice(5, draw(5), plane(logic))
    logic.propagate()
    logic.keep_drawn()

    assert len(files(folder)) == 1


def test_an_offer_for_another_volume_is_refused(slicers, edited, make_case):
    slicers.die(edited)
    logic = slicers.start()
    offer = only(logic.check().kept)
    logic.case.volume.GetImageData().Modified()

    with pytest.raises(UserInputError, match="The volume is another one than when this work was offered"):
        logic.bring_back(offer)
    assert not logic.segment_mask().any()


def test_with_another_pet_on_the_same_ct_the_edits_are_not_replayed(slicers, edited):
    ct = edited._current.live.image_sha256
    slicers.die(edited)

    (offer,) = slicers.start().journal.found((ct, "of another PET"), SHAPE)

    assert "These edits were made on another image" in offer.not_replayed
