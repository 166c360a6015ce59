"""What a server refuses: a status, and one sentence."""

from __future__ import annotations


class Refusal(Exception):
    """Asked for what cannot be had.

    Attributes:
        status: Of HTTP.
        message: One sentence: what is wrong, and what to do.
        soon: Whether it can be had in a second.
    """

    def __init__(self, status: int, message: str, soon: bool = False) -> None:
        super().__init__(message)
        self.status, self.message, self.soon = status, message, soon


GONE = "The server does not have this session (any more): it was closed, or the server began anew; begin it again"
