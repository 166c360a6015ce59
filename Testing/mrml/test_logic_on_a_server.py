"""The tests of the logic once more, with every model on a server: MRML knows no difference."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("nnunetv2")

HERE = Path(__file__).parent
THE_SERVER_S_OWN = (
    *("another_orientation", "running_out_of_memory_while_preparing", "what_the_session_in_use_holds_counts_as_free"),
    *("the_need_of_the_next_start", "a_replay_uses_the_image_of_the_check", "the_check_foresees_the_memory"),
    *("before_a_prediction_the_check_says", "what_does_not_fit_is_refused_by_the_check", "is_not_preprocessed_again"),
    *("and_encodes_nothing", "is_not_encoded_again", "where_memory_is_short", "what_the_model_predicts_elsewhere"),
    *("second_label_of_a_model", "brings_its_label_back"),
)
"""Tests of how this computer prepares an image, foresees its memory, shares features and another label's networks: that
is inside a server's `Session`, or not there.
"""
LEFT_OUT = " or ".join(THE_SERVER_S_OWN)


@pytest.mark.long
@pytest.mark.parametrize("name", ["logic", "session/test_doubt_maps.py", "test_lesions.py"])
def test_the_logic_s_tests_pass_with_a_session_on_a_server(name):
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "on_a_server", "-m", "not long"]
    command = [*pytest_here, "-k", f"not ({LEFT_OUT})", str(HERE / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-6000:]
    assert "passed" in done.stdout
