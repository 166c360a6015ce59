"""The addresses that the page asks, beside those of `server`; and the page itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, cast

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.wire.addresses import (
    MOST_RECORDS,
    MOST_SESSION_LETTERS,
    PAGE_DEMO,
    PAGE_FILES,
    PAGE_ROOM,
    SESSIONS,
)
from context_propagation.page import history
from context_propagation.page.downloads import download, nifti
from context_propagation.page.memory_folder import remove_left
from context_propagation.page.page_session import PageImage, PageSession
from context_propagation.page.static_files import add_static_files
from context_propagation.page.upload import demo_image, read_upload
from context_propagation.server.api import Desk
from context_propagation.server.messages import Edit, Mask, Name, WantedModel
from context_propagation.server.model_folder import ModelChoice
from context_propagation.server.refusals import GONE, Refusal
from context_propagation.server.store import Store
from context_propagation.server.worker import Job

DEFAULTS = SessionSettings()


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Drawn(_Message):
    """The segmentation as somebody drew it; without an axis, the plane is found by the drawing."""

    mask: Mask
    axis: Annotated[int, Field(ge=0, le=2)] | None = None


class Redrawn(_Message):
    """What `edits` answered."""

    edits: Annotated[list[Edit], Field(min_length=1, max_length=MOST_RECORDS)]


class WantedRoom(_Message):
    """Files that are to come: for which model, and of which size together."""

    bundle: Name
    label: Annotated[str, Field(max_length=200)] | None = None
    size_bytes: Annotated[int, Field(ge=0, le=2**62)]


class Wanted(_Message):
    """A file to download."""

    kind: Literal["nifti", "seg.nrrd", "rtstruct"]


async def _page_session(
    session: Annotated[str, Path(max_length=MOST_SESSION_LETTERS)], request: Request
) -> PageSession:
    store: Store = request.app.state.store
    held = store.of(session, request.scope["owner"])
    if not isinstance(held, PageSession):
        raise Refusal(404, GONE)
    return held


Held = Annotated[PageSession, Depends(_page_session)]
"""Of the one who asks, and begun by a page."""


def add_page(app: FastAPI, desk: Desk, settings: SessionSettings = DEFAULTS) -> None:
    """Give a server its page.

    Args:
        app: The server's application.
        desk: What is behind it.
        settings: Of the page's sessions.
    """
    remove_left()
    _add_beginnings(app, desk, settings)
    _add_history(app, desk)
    add_static_files(app)


class _Coming:
    """Files on their way: all together take no more memory than images may.

    Args:
        most_bytes: That they may have.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._taken = most_bytes, 0

    @contextmanager
    def of(self, request: Request) -> Iterator[None]:
        """Raises:
        Refusal: It does not say how large it is, or others' files take the room.
        """
        said = request.headers.get("content-length", "")
        if not said.isdecimal():
            raise Refusal(411, "The request does not say how large it is; send it with its length")
        if self._taken + int(said) > self._most:
            raise Refusal(503, "Others are sending large images; try again in a minute")
        self._taken += int(said)
        try:
            yield
        finally:
            self._taken -= int(said)


def _check_room(store: Store, size_bytes: int = 0) -> None:
    """Raises:
    Refusal: There is no place for another session, or the files are too large.
    """
    store.check_place()
    most = store.limits.image_bytes
    if size_bytes > most:
        sizes = f"{size_bytes / 2**20:.0f} MiB, and the server takes {most / 2**20:.0f} MiB at most"
        raise Refusal(413, f"The files have {sizes}; crop the image")


def _add_beginnings(app: FastAPI, desk: Desk, settings: SessionSettings) -> None:
    store = desk.store
    one_at_a_time = asyncio.Lock()  # reading an image takes as much memory again
    coming = _Coming(store.limits.image_bytes)

    def begin(request: Request, choice: ModelChoice, image: PageImage) -> dict[str, Any]:
        held = cast(PageSession, store.begin(request.scope["owner"], choice, settings, image.announced, PageSession))
        held.hold(image)
        return {
            "session": held.name,
            "lease_s": store.limits.lease_s,
            "shape_kji": list(image.volume.shape_kji),
            "image": image_sha256(image.volume)[0],
            "no_structure_set": image.no_structure_set,
        }

    async def checked(choice: ModelChoice) -> ModelChoice:
        return await run_in_threadpool(desk.models.checked, choice)

    @app.post(PAGE_ROOM, status_code=204)
    async def room(wanted: WantedRoom) -> None:
        """Whether files would be taken; asked before they are sent."""
        await checked(ModelChoice(wanted.bundle, wanted.label))
        _check_room(store, wanted.size_bytes)

    @app.post(PAGE_DEMO, status_code=201)
    async def demo(wanted: WantedModel, request: Request) -> dict[str, Any]:
        """Begin with the demo's phantom."""
        choice = await checked(ModelChoice(wanted.bundle, wanted.label, wanted.general_far))
        async with one_at_a_time:
            image = await run_in_threadpool(demo_image)
        return begin(request, choice, image)

    @app.post(PAGE_FILES, status_code=201)
    async def files(
        request: Request,
        bundle: Annotated[str, Query(min_length=1, max_length=200)],
        label: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Begin with files: a zip archive, see `read_upload`."""
        choice = await checked(ModelChoice(bundle, label))
        _check_room(store)
        with coming.of(request):
            data = await request.body()
            async with one_at_a_time:
                image = await run_in_threadpool(read_upload, data, store.limits.image_bytes)
        if await request.is_disconnected():  # else nobody would close the session
            raise Refusal(499, "Nobody waits for the answer")
        return begin(request, choice, image)

    @app.get(SESSIONS + "/{session}/page/image/{channel}")
    async def image(channel: Annotated[int, Path(ge=0, le=100)], held: Held) -> Response:
        """A channel as the server has it: NIfTI, compressed."""
        if held.image is None or channel >= held.image.volume.channels.shape[0]:
            raise UserInputError(f"The image has no channel {channel}")
        volume = held.image.volume
        return Response(await run_in_threadpool(nifti, volume.channels[channel], volume), media_type="application/gzip")


def _add_history(app: FastAPI, desk: Desk) -> None:
    address = SESSIONS + "/{session}/page/"

    def answer(held: PageSession, compute: Callable[[Job], Any]) -> Response:
        return desk.of_session(held, compute)

    @app.post(address + "edits")
    async def edits(drawn: Drawn, held: Held) -> Response:
        """Which slices were redrawn. NDJSON."""
        return answer(held, lambda job: history.redrawn(held, drawn.mask.model_dump(), drawn.axis))

    @app.post(address + "preview")
    async def preview(wanted: Redrawn, held: Held) -> Response:
        """What they would give. NDJSON."""
        return answer(held, lambda job: history.preview(held, wanted.model_dump()["edits"], job))

    @app.post(address + "apply")
    async def apply(held: Held) -> Response:
        """Do what was previewed. NDJSON."""
        return answer(held, lambda job: history.apply(held))

    @app.post(address + "undo")
    async def undo(held: Held) -> Response:
        """Take back the last edit. NDJSON."""
        return answer(held, lambda job: history.undo(held))

    @app.post(address + "redo")
    async def redo(held: Held) -> Response:
        """Repeat what was undone. NDJSON."""
        return answer(held, lambda job: history.redo(held))

    @app.post(address + "file")
    async def file(wanted: Wanted, held: Held) -> Response:
        """The segmentation as a file. NDJSON."""
        return answer(held, lambda job: download(held, wanted.kind))
