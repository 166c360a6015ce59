"""What a propagation must be told."""

import pytest

from context_propagation.core.propagation.edit_propagation import EditPropagation
from context_propagation.core.propagation.update_settings import UpdateSettings


def test_the_voxel_size_is_never_assumed():
    with pytest.raises(TypeError, match="spacing_kji_mm"):
        EditPropagation(None, neighbours=2, update=UpdateSettings())
