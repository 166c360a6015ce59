"""Errors that reach a user: one line that names the value and says what to do."""

from __future__ import annotations


class UserInputError(ValueError):
    """The input cannot be used. The message is one line: what is wrong, with the value, and the remedy."""


class NotEnoughMemory(UserInputError):
    """Less memory is free than what was asked for needs."""


class MissingDependencyError(UserInputError):
    """An optional package is needed and not installed. The message names the package and the extra."""


class Cancelled(Exception):
    """The user cancelled; nothing was changed."""


def _line(error: BaseException) -> str:
    """The first line of an error's message, not too long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def reason(error: BaseException) -> str:
    """What the system says of an error, without its number and without the path; else the first line of its message."""
    return getattr(error, "strerror", None) or _line(error)


def counted(number: int, thing: str) -> str:
    """A number and what it counts, for messages: "1 channel", "2 channels"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
