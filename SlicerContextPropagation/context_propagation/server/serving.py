"""Start the server: what it listens on, and what that needs."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError, reason
from context_propagation.core.optional_dependency import require
from context_propagation.server.access import Access, is_this_computer, local_hosts, read_tokens
from context_propagation.server.audit import audit_on_stderr
from context_propagation.server.limits import Limits

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from context_propagation.server.api import Desk

DEFAULT_PORT = 8765


@dataclass(frozen=True)
class ServeRequest:
    """What to serve, and to whom.

    Attributes:
        bundles: A folder whose own folders are bundles or models.
        host: Address to listen on.
        port: To listen on.
        device: "auto", "cpu", "cuda" or "mps".
        token_file: A line `name token` for each person; see `read_tokens`.
        certificate: PEM, of the server.
        key: PEM, of the certificate.
        behind_proxy: Whether a proxy, which ends TLS, is all that can reach the address.
        limits: How much it takes on.
    """

    bundles: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    device: str = "auto"
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    limits: Limits = field(default_factory=Limits)

    def access(self) -> Access:
        """Who may ask.

        Raises:
            UserInputError: Others could reach it, or listen to what is sent, as nothing keeps them from it.
        """
        if (self.certificate is None) != (self.key is None):
            raise UserInputError("--certificate and --key go together; give both")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise UserInputError(f"'{file}' is missing; give the file of the certificate, and that of its key")
        if self.certificate is not None and self.key is not None:
            _check_certificate(self.certificate, self.key)
        people = {} if self.token_file is None else read_tokens(self.token_file)
        if is_this_computer(self.host) and not self.behind_proxy:
            return Access(people, local_hosts(self.host))
        if not people:
            raise UserInputError(
                f"On '{self.host}' others can reach the server; give --token-file, or listen on 127.0.0.1"
            )
        if self.certificate is None and not self.behind_proxy:
            raise UserInputError(
                f"On '{self.host}' others could read images on their way; give --certificate and --key, or "
                "--behind-proxy where a proxy encrypts"
            )
        return Access(people)


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise UserInputError(f"'{certificate}' and '{key}' are no certificate and its key ({reason(error)})") from error


def _check_free(host: str, port: int) -> None:
    """Refuse where nobody could listen; uvicorn would say it in lines of its own."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as trial:
                if os.name == "posix":
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((address[0], port, *address[2:]))
    except (OSError, OverflowError) as error:
        raise UserInputError(
            f"Cannot listen on '{host}', port {port} ({reason(error)}); give another --host or --port"
        ) from error


def serve(request: ServeRequest, *more: Callable[[FastAPI, Desk], None]) -> str:
    """Serve until it is stopped.

    Args:
        request: What to serve, and to whom.
        more: What else gives the application addresses.

    Raises:
        UserInputError: The folder holds no model, or something that safety needs is missing.
    """
    server = server_of(request, *more)
    _check_free(request.host, request.port)
    audit_on_stderr()
    scheme = "http" if request.certificate is None else "https"
    print(f"Serving the models in '{request.bundles}' at {scheme}://{request.host}:{request.port}/", flush=True)
    server.run()
    return "The server has ended"


def server_of(request: ServeRequest, *more: Callable[[FastAPI, Desk], None]) -> uvicorn.Server:
    """A server that is ready to run; arguments and errors as `serve`."""
    uvicorn = require("uvicorn", extra="server")
    require("fastapi", extra="server")
    from context_propagation.server.api import Desk, make_app
    from context_propagation.server.guards import Guard
    from context_propagation.server.model_folder import ModelFolder
    from context_propagation.server.store import Store
    from context_propagation.server.waiting_connections import REQUEST_S, WaitingProtocol
    from context_propagation.server.worker import Worker

    access, models = request.access(), ModelFolder(request.bundles, request.device)
    worker = Worker()
    desk = Desk(models, Store(worker, request.limits), worker)
    app = make_app(desk)
    for add in more:
        add(app, desk)
    config = uvicorn.Config(
        Guard(app, access, request.limits),
        host=request.host,
        port=request.port,
        http=WaitingProtocol,
        ws="none",
        access_log=False,  # it would write the names of sessions, which open them; the audit has its own lines
        log_level="warning",
        server_header=False,
        proxy_headers=request.behind_proxy,
        ssl_certfile=request.certificate,
        ssl_keyfile=request.key,
        limit_concurrency=256,
        timeout_keep_alive=int(REQUEST_S),
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
