"""What pip said when it failed, as one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from context_propagation.core.errors import UserInputError

CONFLICT = "ResolutionImpossible"


FULL_DISK = ("No space left on device", "[Errno 28]", "not enough space on the disk")


REFUSED = ("Permission denied", "Access is denied", "[WinError 5]", "[WinError 32]", "Read-only file system")


NO_NETWORK = (
    "CERTIFICATE_VERIFY_FAILED",
    "ConnectTimeoutError",
    "Max retries exceeded",
    "ProxyError",
    "Read timed out",
    "after connection broken by",
    "getaddrinfo failed",
    "name resolution",
)


NOT_FOUND = re.compile(r"No matching distribution found for (.+)")


CONFLICTING = re.compile(r"^\s*(\S.* depends on .*|The user requested .*)$")


WANTED = re.compile(r"(?: depends on |The user requested (?:\(constraint\) )?)(.+)$")


ERROR_LINE = re.compile(r"^\s*ERROR: (.+)")


def pip_error(doing: str, lines: Sequence[str], wheel_folder: Path | None) -> UserInputError:
    """The error to raise after pip failed.

    Args:
        doing: What failed, as the start of a sentence: "Installing nnunetv2 failed".
        lines: What pip printed.
        wheel_folder: The folder that it installed from, or None for the package index.
    """
    return UserInputError(f"{doing}: {_reason(lines, wheel_folder)}")


def _reason(lines: Sequence[str], wheel_folder: Path | None) -> str:
    sides = _conflicting_sides(lines)
    missing = _first_match(NOT_FOUND, lines) or _only_wanted(sides)
    if sides and missing is None:
        told = "; ".join(sides)
        return f"it does not go with what is installed, which was kept ({told}); update Slicer, or that package by hand"
    if _any_says(lines, FULL_DISK):
        return "the disk is full; free some space and try again"
    if _any_says(lines, REFUSED):
        return (
            "a file may not be written, or is in use; restart Slicer and do this before anything else, or install "
            "Slicer where you may write"
        )
    if wheel_folder is None and _any_says(lines, NO_NETWORK):
        return "the package index cannot be reached; check the network and the proxy, or use a folder of wheels"
    if missing is not None:
        return _not_found(missing, wheel_folder)
    said = _first_match(ERROR_LINE, lines) or _last_line(lines)
    return f"pip said '{said}'; the Python console has the rest"


def _conflicting_sides(lines: Sequence[str]) -> list[str]:
    if not _any_says(lines, (CONFLICT,)):
        return []
    return list(dict.fromkeys(match.group(1).strip() for line in lines if (match := CONFLICTING.match(line))))


def _only_wanted(sides: Sequence[str]) -> str | None:
    """The package that pip calls a conflict because there is none of it: all sides want the same one."""
    wanted = [match.group(1) for side in sides if (match := WANTED.search(side))]
    names = {re.split(r"[^\w.-]", want, maxsplit=1)[0].lower() for want in wanted}
    by_packages = sum(" depends on " in side for side in sides)
    if len(names) == 1 and by_packages in (0, len(sides)):
        return wanted[-1]
    return None


def _not_found(missing: str, wheel_folder: Path | None) -> str:
    if wheel_folder is None:
        return (
            f"the package index has no '{missing}' for this Slicer's Python, or cannot be reached; check the network, "
            "update Slicer, or use a folder of wheels"
        )
    return (
        f"the folder '{wheel_folder}' has no wheel of '{missing}' for this Slicer's Python; add it, with what it "
        "needs: pip wheel, run with the same Python version and system, collects them"
    )


def _last_line(lines: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def _any_says(lines: Sequence[str], parts: Sequence[str]) -> bool:
    return any(part in line for line in lines for part in parts)


def _first_match(pattern: re.Pattern[str], lines: Sequence[str]) -> str | None:
    return next((match.group(1).strip() for line in lines if (match := pattern.search(line))), None)
