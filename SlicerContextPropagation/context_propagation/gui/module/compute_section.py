"""Where the network runs: a device of this computer, or a server that the user added."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ctk
from slicer.i18n import tr as _

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.device import DEVICES
from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.gui.servers import (
    ChosenServer,
    KnownServer,
    add_server,
    choose_server,
    chosen_server,
    known_servers,
    remove_server,
)
from context_propagation.gui.work.messages import guarded, show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.model_loading import listing_operation

if TYPE_CHECKING:
    from context_propagation.remote.remote_server import RemoteServer


class ComputeSection:
    """A list of devices and servers, and the fields of a new server.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_models: Called when there are other models to choose from.
        on_changed: Called after the user chose something else.
    """

    def __init__(self, ui: Any, shared: Shared, on_models: Callable[[], None], on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._on_models, self._on_changed = ui, shared, on_models, on_changed
        self._filling = True
        self._servers: list[KnownServer] = []
        self._fill()
        ui.serverCertificate.filters = ctk.ctkPathLineEdit.Files
        ui.deviceSelector.connect("currentIndexChanged(int)", self._chosen)
        ui.addServerButton.connect("toggled(bool)", self._show_fields)
        ui.keepServerButton.connect("clicked()", guarded(self._add, on_changed))
        ui.removeServerButton.connect("clicked()", guarded(self._remove, on_changed))

    @property
    def is_here(self) -> bool:
        """Whether this computer computes."""
        return self._server is None

    @property
    def device(self) -> str:
        """One of `DEVICES`; a server has its own."""
        return str(self._ui.deviceSelector.currentText) if self.is_here else DEVICES[0]

    @property
    def no_model(self) -> str:
        """What to say where there is no model to choose."""
        chosen = chosen_server()
        if chosen is None:
            return _("No model; add one.") if self.is_here else ""
        return chosen.trouble or _("The server has no model.")

    def show(self, device: str) -> None:
        """Show the device that a scene says; a server that is chosen stays."""
        if self.is_here:
            filling, self._filling = self._filling, True
            self._ui.deviceSelector.setCurrentIndex(DEVICES.index(device) if device in DEVICES else 0)
            self._filling = filling

    def update(self, loaded: LoadedModel | None) -> None:
        """Bring the widgets in step.

        Args:
            loaded: The chosen model, where it is loaded.
        """
        ui, idle = self._ui, not self._shared.runner.busy
        ui.deviceSelector.enabled = ui.addServerButton.enabled = ui.keepServerButton.enabled = idle
        ui.removeServerButton.enabled = idle
        set_visible(not self.is_here, ui.removeServerButton)
        set_visible(bool(ui.addServerButton.checked), ui.serverFields)
        device = loaded and (loaded.model.device.type if loaded.server else loaded.model.device)
        ui.deviceInUse.text = _("in use: {device}").format(device=device) if device else ""

    def close(self) -> None:
        """Back to this computer, as another panel begins."""
        choose_server(None)

    @property
    def _server(self) -> KnownServer | None:
        """The one that the list shows."""
        number = self._ui.deviceSelector.currentIndex - len(DEVICES)
        return self._servers[number] if 0 <= number < len(self._servers) else None

    def _fill(self, url: str = "") -> None:
        """List devices and servers, and choose one of these, or the first device."""
        self._filling, self._servers = True, known_servers()
        urls = [one.url for one in self._servers]
        self._ui.deviceSelector.clear()
        self._ui.deviceSelector.addItems([*DEVICES, *urls])
        self._ui.deviceSelector.setCurrentIndex(len(DEVICES) + urls.index(url) if url in urls else 0)
        self._filling = False

    def _show_fields(self, on: bool) -> None:
        set_visible(bool(on), self._ui.serverFields)

    def _chosen(self, index: int) -> None:
        if not self._filling:
            guarded(self._compute_there, self._on_changed)()

    def _compute_there(self) -> None:
        """Go over to what is chosen; a server is asked which models it has."""
        server, before = self._server, chosen_server()
        if server is None:
            choose_server(None)
            if before is not None:
                self._on_models()
            return

        def listed(found: tuple[RemoteServer, list[ModelDescription]]) -> None:
            self._take(ChosenServer(found[0], tuple(found[1])))

        def failed(error: BaseException) -> None:
            self._take(ChosenServer(trouble=str(error)))
            show_error(error)

        def cancelled() -> None:
            self._fill()
            self._take(None)

        self._shared.runner.start(listing_operation(server.connected), listed, cancelled, failed)

    def _take(self, server: ChosenServer | None) -> None:
        choose_server(server)
        self._on_models()

    def _add(self) -> None:
        self._shared.runner.require_idle()
        ui = self._ui
        url, token = str(ui.serverAddress.text).strip().rstrip("/"), str(ui.serverToken.text).strip()
        add_server(KnownServer(url, token, str(ui.serverCertificate.currentPath)))
        ui.serverAddress.text = ui.serverToken.text = ui.serverCertificate.currentPath = ""
        ui.addServerButton.checked = False
        self._fill(url)
        self._compute_there()

    def _remove(self) -> None:
        self._shared.runner.require_idle()
        if self._server is not None:
            remove_server(self._server.url)
            self._fill()
            self._take(None)
