import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.target import Target


def test_a_label_that_no_file_can_store_is_refused_with_its_name():
    with pytest.raises(UserInputError, match=r"label 'GTV\\ud800' holds half a character"):
        Target("GTV\ud800", 1, (1,))
