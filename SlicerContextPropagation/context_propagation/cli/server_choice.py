"""`--server`: compute on another computer. To name it is to agree that the image goes there."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Protocol

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError, reason
from context_propagation.remote.consent import Upload
from context_propagation.remote.remote_server import RemoteServer

logger = logging.getLogger(__name__)


class ServerRequest(Protocol):
    """What a request says of the server, and of the model there."""

    @property
    def model(self) -> Path: ...
    @property
    def label(self) -> str | None: ...
    @property
    def device(self) -> str: ...
    @property
    def trust_bundle(self) -> bool: ...
    @property
    def orientation(self) -> str | None: ...
    @property
    def checkpoint(self) -> str | None: ...
    @property
    def server(self) -> str | None: ...
    @property
    def server_token(self) -> Path | None: ...
    @property
    def server_certificate(self) -> Path | None: ...


def add_server(parser: argparse.ArgumentParser) -> None:
    """Of commands that may compute elsewhere."""
    add = parser.add_argument
    add(
        "--server", metavar="URL",
        help="compute on a server of `serve`; the image is sent there. --model is then a name in its list",
    )  # fmt: skip
    add("--server-token", type=Path, metavar="FILE", help="a file with your token for the server, and nothing else")
    add("--server-certificate", type=Path, metavar="PEM", help="of whoever signed the server's own certificate")


def load_on_server(request: ServerRequest, general_far: bool) -> LoadedModel:
    """Load a model on the server that a command names.

    Raises:
        UserInputError: It cannot be used as asked.
    """
    own = {
        "--device": request.device != "auto",
        "--trust-bundle": request.trust_bundle,
        "--orientation": request.orientation is not None,
        "--checkpoint": request.checkpoint is not None,
    }
    refused = next((option for option, given in own.items() if given), None)
    if refused is not None:
        raise UserInputError(f"{refused} is the server's own affair; leave it out with --server")
    certificate = request.server_certificate
    server = RemoteServer(
        str(request.server),
        _agreed,
        None if request.server_token is None else _token(request.server_token),
        None if certificate is None else str(certificate),
    )
    return server.load(str(request.model), request.label, general_far)


def _agreed(upload: Upload) -> bool:
    logger.info("The image is sent to %s, as --server says; it is kept there in memory until this ends", upload.url)
    return True


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(
            f"The token file '{path}' cannot be read ({reason(error)}); correct --server-token"
        ) from error
