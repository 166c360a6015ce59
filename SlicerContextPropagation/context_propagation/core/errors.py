"""Errors that reach a user: one line that names the value and says what to do."""


class UserInputError(ValueError):
    """The input cannot be used. The message is one line: what is wrong, with the value, and the remedy."""


class MissingDependencyError(UserInputError):
    """An optional package is needed and not installed. The message names the package and the extra."""


class Cancelled(Exception):
    """The user cancelled; nothing was changed."""
