"""What the package offers at its top."""

import subprocess
import sys

import pytest

import context_propagation


@pytest.mark.parametrize("name", context_propagation.__all__)
def test_every_public_name_can_be_imported_from_the_package(name):
    assert getattr(context_propagation, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = context_propagation.Nothing


def test_importing_the_package_imports_no_torch():
    code = "import sys, context_propagation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
