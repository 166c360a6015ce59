import numpy as np
import pytest
import slicer

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.writing.foreseen_losses import lost_by_others

EDITOR = slicer.vtkMRMLSegmentEditorNode


@pytest.fixture
def added(case):
    mask = np.zeros(case.shape, bool)
    mask[5, 4:8, 4:8] = True  # 16 voxels
    return BoxedMask.of(mask)


@pytest.fixture
def segments(case, added):
    cord, node = np.zeros(case.shape, bool), np.zeros(case.shape, bool)
    cord[5, 4:6, 4:8] = True  # 8 of them
    node[5, 7, 7] = True  # 1 of them
    gtv = case.add(case.target)
    case.add(cord, name="cord")
    case.segmentation.GetDisplayNode().SetSegmentVisibility(case.add(node, name="node"), False)
    return gtv


@pytest.mark.parametrize(
    ("mode", "lost"),
    [
        (EDITOR.OverwriteAllSegments, {"cord": 8, "node": 1}),
        (EDITOR.OverwriteVisibleSegments, {"cord": 8}),
        (EDITOR.OverwriteNone, {}),
    ],
)
def test_what_others_lose_depends_on_the_overwrite_mode(case, segments, added, mode, lost):
    assert lost_by_others(case.segmentation, segments, case.volume, added, mode) == lost


def test_nothing_is_lost_where_nothing_is_added(case, segments):
    nothing = BoxedMask.of(np.zeros(case.shape, bool))
    assert lost_by_others(case.segmentation, segments, case.volume, nothing, EDITOR.OverwriteAllSegments) == {}
