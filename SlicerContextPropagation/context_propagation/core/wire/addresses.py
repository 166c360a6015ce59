"""The addresses of a server's interface, and what is agreed on. docs/server.md describes it."""

PROTOCOL = 1
"""Goes up where an older client, or an older server, would not understand a message."""


SERVER = "/api/server"
MODELS = "/api/models"
SESSIONS = "/api/sessions"
PAGE_DEMO = "/api/page/demo"
PAGE_FILES = "/api/page/files"
PAGE_ROOM = "/api/page/room"


def session(name: str, *rest: str | int) -> str:
    """Of one session, and what belongs to it: `session("abc", "channels", 0)`."""
    return "/".join([SESSIONS, name, *map(str, rest)])


MOST_MESSAGE_BYTES = 64 * 2**20
"""Of a message other than the image; masks are compressed."""


MOST_SESSION_LETTERS = 64


MOST_RECORDS = 1000


NDJSON = "application/x-ndjson"
"""Of an answer that takes long: one JSON value a line. Each but the last says how far it is, the last what came out."""


BEAT_S = 0.25
"""At least so often a line comes: a client that wants to cancel need not wait for longer."""
