"""What a user reads when pip fails."""

from pathlib import Path

import pytest

from context_propagation.gui.packages.pip_errors import pip_error

FOLDER = Path("wheels")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "free some space"),
        (
            "ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied: 'x.pyd'",
            "restart Slicer",
        ),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403'))", "the proxy"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')", "folder of wheels"),
        ("ERROR: No matching distribution found for nnunetv2==2.8.1", "no 'nnunetv2==2.8.1'"),
        ("ERROR: Something that nobody foresaw", "'Something that nobody foresaw'"),
    ],
)
def test_the_message_says_what_to_do(line, remedy):
    message = str(pip_error("Installing nnunetv2 failed", ["Collecting nnunetv2", line, "exit status 1"], None))

    assert message.startswith("Installing nnunetv2 failed: ")
    assert remedy in message
    assert "\n" not in message


def test_a_conflict_tells_both_sides_once():
    lines = [
        "ERROR: Cannot install monai==1.6.1 because these package versions have conflicting dependencies.",
        "    monai 1.6.1 depends on torch>=2.8.0",
        "    monai 1.6.1 depends on torch>=2.8.0",
        "    The user requested (constraint) torch==2.6.0+cu126",
        "ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/",
    ]

    told = str(pip_error("Installing monai failed", lines, None))

    assert "(monai 1.6.1 depends on torch>=2.8.0; The user requested (constraint) torch==2.6.0+cu126)" in told


def test_a_package_that_every_version_needs_and_that_is_not_there_is_no_conflict():
    lines = [
        "    nnunetv2 2.9 depends on unittest2",
        "    nnunetv2 2.8.1 depends on unittest2",
        "ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/",
    ]

    assert "the folder 'wheels' has no wheel of 'unittest2'" in str(pip_error("Installing failed", lines, FOLDER))


def test_without_any_output_the_message_still_is_a_sentence():
    assert "pip said 'nothing'" in str(pip_error("Installing failed", [], None))


def test_a_pinned_version_that_is_not_there_is_no_conflict():
    lines = [
        "    The user requested nnunetv2>=2.5",
        "    The user requested (constraint) nnunetv2==2.8.1",
        "ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/",
    ]

    assert "has no 'nnunetv2==2.8.1'" in str(pip_error("Installing failed", lines, None))
