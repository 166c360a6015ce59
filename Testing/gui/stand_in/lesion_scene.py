"""Two lesions on a CT, for tests of the panel to choose among as a user does."""

import numpy as np

from as_a_user import settle

GRID = np.indices((16, 16, 16))


def ball(center):
    return sum((grid - at) ** 2 for grid, at in zip(GRID, center, strict=True)) <= 9


def with_two_lesions(user, ct):
    """Two drawn lesions, A and B, in a segmentation that the panel has chosen with the CT."""
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    user.ct, user.node = ct, add_segmentation(user.application.scene, ct, "Lesions")
    user.ids = {}
    for name, center in (("A", (8, 5, 5)), ("B", (7, 11, 11))):
        user.ids[name] = add_segment_from_mask(user.node, ball(center), ct, name)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.segmentSelector.setCurrentNode(user.node)


def choose(user, name):
    user.ui.segmentSelector.setCurrentSegmentID(user.ids[name])
    settle()


def click_row(user, row):
    user.ui.lesionsTable.cellClicked(row, 0)
    settle()


def open_effect(user):
    """Go to the Segment Editor with the effect on lesion A; returns the editor."""
    editor = user.application.segment_editor()
    editor.setSegmentation(user.node)
    editor.setVolume(user.ct)
    editor.selectSegment(user.ids["A"])
    user.panel.exit()  # as Slicer calls it when another module is opened
    editor.setActiveEffect("Propagate Edit")
    settle()
    return editor
