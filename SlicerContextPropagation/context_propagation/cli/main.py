"""The `context-propagation` command."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from context_propagation.cli.commands import NOTHING_WRITTEN, PROGRAM, parsed
from context_propagation.core.errors import UserInputError
from context_propagation.training.places import PartEnds

BAD_INPUT, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        0; 2 for input that cannot be used, after one line on stderr; 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    interrupted = NOTHING_WRITTEN
    with warnings.catch_warnings(), _messages_on_stderr():
        warnings.simplefilter("ignore")  # of libraries, for programmers; what matters to a user is logged or raised
        try:
            command, fields = parsed(argv)
            interrupted = command.interrupted
            _quieten_itk()
            print(command.run(fields))
        except PartEnds as ended:
            print(f"part {fields['part']} of {fields['parts']}: {ended}")
        except UserInputError as error:
            print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
            return BAD_INPUT
        except KeyboardInterrupt:
            print(f"{PROGRAM}: interrupted; {interrupted}", file=sys.stderr)
            exec("")  # else Python ends by the signal, in place of 130, where Ctrl-C came in an `exec` of a text
            return INTERRUPTED
        except OSError as error:
            where = f"'{error.filename}': " if error.filename else ""
            print(f"{PROGRAM}: error: {where}{error.strerror or error}; choose another place", file=sys.stderr)
            return BAD_INPUT
    return 0


def _quieten_itk() -> None:
    """ITK prints warnings of several lines; what matters in them is checked and raised in one."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        return f"{PROGRAM}: {kind}: {' '.join(record.getMessage().split())}"


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    """The package's own log, one line per message."""
    logger = logging.getLogger("context_propagation")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
