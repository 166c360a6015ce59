"""Load a model off the main thread, with the long imports that a session needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.long_imports import long_imports
from context_propagation.core.model.model_listing import describe_model
from context_propagation.mrml.session.operation import Operation

if TYPE_CHECKING:
    from context_propagation.core.model.model_listing import ModelDescription
    from context_propagation.remote.remote_server import RemoteServer


def loading_operation(
    folder: str | Path,
    label: str | int | None,
    device: str,
    trust: bool,
    orientation: str | None,
    general_far: bool,
    server: RemoteServer | None = None,
) -> Operation[LoadedModel]:
    """Load a bundle or a base model; see `ContextPropagationLogic.load_operation`.

    Raises:
        UserInputError: The folder cannot be used, now or when it is loaded.
    """
    if server is not None:
        return _loading_there(server, str(folder), label, general_far)
    describe_model(folder)  # refused at once where it holds no model

    def compute(progress: Progress, cancelled: CancelCheck) -> LoadedModel:
        progress("load model", 0.0)
        with long_imports():
            import context_propagation.core.session.session  # noqa: F401  (not on the main thread, when it is first needed)
            from context_propagation.core.bundle.bundle import load_model

            loaded = load_model(folder, label, device, trust, orientation)
            return loaded.with_general_far() if general_far else loaded

    return Operation("Load model", compute, lambda loaded: loaded)


def _loading_there(
    server: RemoteServer, bundle: str, label: str | int | None, general_far: bool
) -> Operation[LoadedModel]:
    def compute(progress: Progress, cancelled: CancelCheck) -> LoadedModel:
        return server.load(bundle, label, general_far, progress, cancelled)

    return Operation("Load model", compute, lambda loaded: loaded)


def listing_operation(
    connected: Callable[[], RemoteServer],
) -> Operation[tuple[RemoteServer, list[ModelDescription]]]:
    """Ask a server which models it has; no image is sent.

    Args:
        connected: Makes the server, on any thread.

    Raises:
        UserInputError: It does not answer, speaks another version, or refuses; when it runs.
    """

    def compute(progress: Progress, cancelled: CancelCheck) -> tuple[RemoteServer, list[ModelDescription]]:
        server = connected()
        return server, server.models(progress, cancelled)

    return Operation("Ask the server", compute, lambda listed: listed)


def is_loaded_so(
    loaded: LoadedModel,
    folder: str | Path,
    device: str,
    orientation: str | None,
    general_far: bool,
    server: RemoteServer | None = None,
) -> bool:
    """Whether a model is loaded as it is asked for, whatever its label; see `loading_operation`."""
    return (
        loaded.server == ("" if server is None else server.connection.url)
        and loaded.description.path == Path(folder)
        and device in ("auto", loaded.model.device.type)
        and orientation == loaded.orientation
        and general_far == (loaded.general is not None)
    )
