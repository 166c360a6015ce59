"""Who may ask: tokens in a file, and on this computer alone nobody's web page."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from context_propagation.core.errors import UserInputError, reason
from context_propagation.server.refusals import Refusal

SHORTEST_TOKEN = 20


MAKE_ONE = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        people: Name to the SHA-256 of their token; empty where no token is asked for.
        hosts: Names by which the server may be called; empty for any, which needs tokens.
    """

    people: Mapping[str, bytes] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()

    def check_place(self, headers: Mapping[str, str]) -> None:
        """Refuse a page of another site, which a browser would let ask on this computer, by what browsers say.

        Args:
            headers: Lower-case names.

        Raises:
            Refusal: It may not ask.
        """
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            raise Refusal(421, f"This server is not called '{host:.80}'; use the address that it was started with")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refusal(403, "A page of another site may not ask this server")

    def owner(self, headers: Mapping[str, str]) -> str:
        """Who asks, by the token; empty where none is asked for.

        Raises:
            Refusal: They may not; see also `check_place`.
        """
        self.check_place(headers)
        if not self.people:
            return ""
        kind, _, token = headers.get("authorization", "").partition(" ")
        given = _hashed(token.strip())
        found = [name for name, known in self.people.items() if hmac.compare_digest(known, given)]
        if kind.lower() != "bearer" or not found:
            raise Refusal(401, "The token is missing or wrong; ask the one who runs the server for yours")
        return found[0]


def _name(host: str) -> str:
    """Without the port."""
    return host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host


def local_hosts(host: str) -> frozenset[str]:
    """The names of this computer for itself."""
    return frozenset({"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host})


def is_this_computer(host: str) -> bool:
    """Whether nobody else can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tokens(path: Path) -> dict[str, bytes]:
    """People and the SHA-256 of their tokens.

    Args:
        path: A line for each person, `name token`; lines that begin with # count for nothing.

    Raises:
        UserInputError: It cannot be read, others than its owner can read or change it, or a line is not of this form.
    """
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(
            f"The token file '{path}' cannot be read ({reason(error)}); correct --token-file"
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserInputError(f"Others can read or change the token file '{path}'; run: chmod 600 '{path}'")
    people: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *tokens = line.split()
        if len(tokens) != 1 or len(tokens[0]) < SHORTEST_TOKEN or name in people:
            wanted = f"a name of its own, a space and a token of {SHORTEST_TOKEN} letters or more"
            raise UserInputError(f"Line {number} of '{path}' is not {wanted}; {MAKE_ONE}")
        people[name] = _hashed(tokens[0])
    if not people:
        raise UserInputError(f"The token file '{path}' has no line with a name and a token; {MAKE_ONE}")
    return people


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
