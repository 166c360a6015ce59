"""A server: which models it has, and whether an image may be sent to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.core.wire.addresses import MODELS, PROTOCOL, SERVER
from context_propagation.remote.answers import computed, leaving, reliably
from context_propagation.remote.connection import Connection
from context_propagation.remote.consent import Consent, Consents
from context_propagation.remote.place import Place
from context_propagation.remote.remote_loaded_model import RemoteLoadedModel, description_of, loaded_of

FIRST_PATIENCE_S = 2.0
"""Of somebody who may have mistyped an address."""


FIRST_SILENCE_S = 10.0
"""What says who it is does not compute first."""


class RemoteServer:
    """A server of `context-propagation serve`.

    Args:
        url: Its address, such as https://gpu.example.org:8765.
        consent: Asked before an image is sent for the first time.
        token: Yours; None where the server wants none.
        certificate: PEM file, where the server's certificate is signed by somebody whom this computer does not know.

    Raises:
        UserInputError: It is no such address, or would send images unencrypted over the network.
    """

    def __init__(self, url: str, consent: Consent, token: str | None = None, certificate: str | None = None) -> None:
        self.connection = Connection(url.rstrip("/"), token, certificate)
        self._consents = Consents(url, consent)

    def models(
        self, progress: Progress = no_progress, cancelled: CancelCheck = never_cancelled
    ) -> list[ModelDescription]:
        """Those that it has; the path of each is its name.

        Args:
            progress: Called with stage and fraction.
            cancelled: Asked while it does not answer.

        Raises:
            UserInputError: It does not answer, speaks another version, or refuses.
            Cancelled: The user cancelled.
        """
        said = self._server(progress, cancelled)
        return [description_of(one) for one in said["models"]]

    def load(
        self,
        bundle: str,
        label: str | int | None = None,
        general_far: bool = True,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> RemoteLoadedModel:
        """Load a model there; see `load_model`.

        Args:
            bundle: Its name in the server's list.
            label: Name or value of the label; by default the bundle's, or the only one.
            general_far: Whether the general far network serves a model without fusion networks.
            progress: Called with stage and fraction.
            cancelled: Asked while it loads.

        Raises:
            UserInputError: It has no such model, it cannot be used, or the server does not answer.
            Cancelled: The user cancelled.
        """
        names = {str(one.path): one for one in self.models(progress, cancelled)}
        if bundle not in names:
            known = ", ".join(f"'{name}'" for name in names)
            raise UserInputError(f"The server has no model '{bundle}'; choose one of {known}")
        wanted = {"bundle": bundle, "label": None if label is None else str(label), "general_far": general_far}
        plain = reliably(lambda: computed(self.connection, MODELS, wanted, progress, cancelled), progress, cancelled)
        return loaded_of(plain, names[bundle], Place(self.connection, self._consents, wanted))

    def _server(self, progress: Progress, cancelled: CancelCheck) -> Any:
        connection = replace(self.connection, silence_s=FIRST_SILENCE_S)
        said = reliably(
            lambda: connection.ask("GET", SERVER, None, leaving(cancelled)), progress, cancelled, FIRST_PATIENCE_S
        )
        if not isinstance(said, dict) or said.get("program") != "context-propagation":
            raise UserInputError(f"'{self.connection.url}' is another kind of server; correct the address")
        if said.get("protocol") != PROTOCOL:
            raise UserInputError(
                f"The server has version {said.get('version')!s:.40} with protocol {said.get('protocol')!s:.20}, and "
                f"this computer has protocol {PROTOCOL}; install the same version here and there"
            )
        return said
