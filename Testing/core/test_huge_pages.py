"""torch takes memory in huge pages, where Linux lets it and the user does not forbid it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ALLOWED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
COUNT = """
import context_propagation.core
import resource, torch
small = torch.zeros(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
large = torch.zeros(2**26)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 2**28 // 4096
"""Of 4 KiB in the large tensor."""


def faults(**environment: str) -> int:
    """How many pages the large tensor takes."""
    others = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env={**others, **environment}, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not ALLOWED.is_file() or "[madvise]" not in ALLOWED.read_text(), reason="huge pages are not what a program asks for"
)
def test_a_large_tensor_takes_few_large_pages_unless_the_user_says_otherwise():
    assert faults() < PAGES // 10
    assert faults(THP_MEM_ALLOC_ENABLE="0") >= PAGES
