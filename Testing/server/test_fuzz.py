"""What a machine makes of the interface's own description: whatever it sends, the server answers in its form."""

import subprocess
import sys

import pytest

pytest.importorskip("schemathesis")
pytest.importorskip("fastapi")

from context_propagation.page.api import add_page
from context_propagation.server.limits import Limits
from served import served

SETTINGS = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", 503]
"""
"""503 is the answer of a server that is full."""


@pytest.mark.long
def test_no_message_that_the_description_allows_or_forbids_brings_the_server_down(bundles, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    with served(bundles, add_page, limits=Limits(requests_per_s=10_000)) as server:
        options = ["--checks", "not_a_server_error", "--phases", "coverage,fuzzing", "--max-examples", "50"]
        command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
        done = subprocess.run(
            [*command, f"{server.url}/openapi.json", *options, "--seed", "1", "--max-time", "240"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "500" not in {line.split()[4] for line in server.lines}  # address, person, method, path, status
        assert server.asked("GET", "/api/server")[0] == 200
