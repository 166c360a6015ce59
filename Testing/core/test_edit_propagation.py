"""What a propagation must be told."""

import pytest

from context_propagation.core.activation_update import UpdateSettings
from context_propagation.core.edit_propagation import EditPropagation
from context_propagation.core.source_volume import ArrayReorientation


def test_the_voxel_size_is_never_assumed():
    with pytest.raises(TypeError, match="spacing_kji_mm"):
        EditPropagation(None, ArrayReorientation(), neighbours=2, update=UpdateSettings())
