"""The server's interface: addresses, and what is behind each. docs/server.md describes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from context_propagation import __version__
from context_propagation.core.errors import UserInputError
from context_propagation.core.session.saved_settings import read_settings
from context_propagation.core.wire.addresses import MODELS, MOST_SESSION_LETTERS, NDJSON, PROTOCOL, SERVER, SESSIONS
from context_propagation.server import computing, messages
from context_propagation.server.answers import FAILED, lines
from context_propagation.server.held_session import Announced, HeldSession
from context_propagation.server.limits import MOST_JOBS, check_settings
from context_propagation.server.model_folder import ModelChoice, ModelFolder, plain_description, plain_model
from context_propagation.server.refusals import Refusal
from context_propagation.server.store import Store
from context_propagation.server.worker import Job, Worker

SWEEP_S = 5.0


NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
"""Newer versions of FastAPI would send requests, bodies and all, to whatever the environment names."""


@dataclass(frozen=True)
class Desk:
    """All that the addresses have behind them."""

    models: ModelFolder
    store: Store
    worker: Worker

    def answer(self, jobs: list[Job], compute: Callable[[Job], Any], others: Callable[[], int]) -> StreamingResponse:
        """Compute something, and tell of it line by line."""
        return StreamingResponse(
            lines(self.worker, Job(compute), jobs, others),
            media_type=NDJSON,
            headers={"X-Accel-Buffering": "no"},  # a proxy would hold lines back
        )

    def of_session(self, held: HeldSession, compute: Callable[[Job], Any]) -> StreamingResponse:
        """The same for a session.

        Raises:
            Refusal: It waits for too much already.
        """
        if len(held.jobs) >= MOST_JOBS:
            raise Refusal(429, f"The session waits for {MOST_JOBS} computations already; wait for one of them")
        return self.answer(held.jobs, compute, lambda: self.store.others(held))


async def _held_session(
    session: Annotated[str, Path(max_length=MOST_SESSION_LETTERS)], request: Request
) -> HeldSession:
    store: Store = request.app.state.store
    return store.of(session, request.scope["owner"])


Held = Annotated[HeldSession, Depends(_held_session)]
"""Of the one who asks; refused where they have none of this name."""


def _choice(wanted: messages.WantedModel) -> ModelChoice:
    return ModelChoice(wanted.bundle, wanted.label, wanted.general_far)


def make_app(desk: Desk) -> FastAPI:
    """The application, without its guards."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(desk.store))
        yield
        sweeping.cancel()
        desk.store.close_all()
        desk.worker.end()

    app = FastAPI(
        title="Context Propagation", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        telemetry=NO_TELEMETRY,
    )  # fmt: skip
    _say_refusals(app)
    app.state.store = desk.store
    _add_models(app, desk)
    _add_beginnings(app, desk)
    _add_computing(app, desk)
    _add_upkeep(app, desk.store)
    return app


def _add_models(app: FastAPI, desk: Desk) -> None:
    """What the server has."""
    models, store = desk.models, desk.store

    @app.get(SERVER)
    def server() -> dict[str, Any]:  # not async: it looks through folders
        """What runs here, and which models it has."""
        return {
            "program": "context-propagation",
            "version": __version__,
            "protocol": PROTOCOL,
            "lease_s": store.limits.lease_s,
            "sessions": len(store),
            "most_sessions": store.limits.sessions,
            "models": [plain_description(name, description) for name, description in models.listed().items()],
        }

    @app.post(MODELS)
    async def model(wanted: messages.WantedModel) -> Response:
        """Load a model, and say what it expects. NDJSON."""

        def compute(job: Job) -> dict[str, Any]:
            job.progress("load model", 0.0)
            return plain_model(models.loaded(models.checked(_choice(wanted)), store.choices_in_use()))

        return desk.answer([], compute, lambda: len(store))


def _add_beginnings(app: FastAPI, desk: Desk) -> None:
    """How a session begins: announced, with its image, and with features cached around the target."""
    models, store = desk.models, desk.store

    @app.post(SESSIONS, status_code=201)
    async def begin(wanted: messages.NewSession, request: Request) -> dict[str, Any]:
        """Begin a session: its image is to come. What can be refused is refused now, before it is sent."""
        settings = read_settings({**wanted.settings, "memory_budget_bytes": None}, FilePath("settings"))
        check_settings(settings)
        choice = await run_in_threadpool(models.checked, _choice(wanted.model))
        k, j, i = wanted.shape_kji
        matrix = np.array(wanted.ijk_to_lps, np.float64)
        if not abs(np.linalg.det(matrix)) > 1e-9:
            raise UserInputError("The image's matrix from voxels to the patient is flat; send the image's own")
        announced = Announced((k, j, i), tuple(wanted.kinds), matrix)
        held = store.begin(request.scope["owner"], choice, settings, announced)
        return {"session": held.name, "lease_s": store.limits.lease_s}

    @app.put(SESSIONS + "/{session}/channels/{number}", status_code=204)
    async def channel(number: Annotated[int, Path(ge=0, le=100)], held: Held, request: Request) -> None:
        """One channel of the image: its voxels (k slowest, i fastest, little-endian) as zlib data."""
        with held.coming_in(number) as unpacking:
            async for piece in request.stream():
                unpacking.add(piece)
            held.take(number, unpacking.channel())

    @app.post(SESSIONS + "/{session}/start")
    async def start(wanted: messages.Start, held: Held) -> Response:
        """Cache the image around the first segmentation. NDJSON."""
        initial = None if wanted.initial is None else wanted.initial.model_dump()

        def compute(job: Job) -> dict[str, Any]:
            job.progress("load model", 0.0)
            loaded = models.loaded(held.choice, store.choices_in_use())
            return computing.start(held, loaded, initial, job)

        return desk.of_session(held, compute)


def _add_computing(app: FastAPI, desk: Desk) -> None:
    """What is computed of a session's edits."""

    @app.post(SESSIONS + "/{session}/preview")
    async def preview(wanted: messages.Preview, held: Held) -> Response:
        """What redrawn slices would give. NDJSON."""
        asked = computing.WantedPreview(**wanted.model_dump())
        return desk.of_session(held, lambda job: computing.preview(held, asked, job))

    @app.post(SESSIONS + "/{session}/uncertainty")
    async def uncertainty(wanted: messages.Uncertainty, held: Held) -> Response:
        """How undecided the model is on each slice, and which to redraw next. NDJSON."""
        asked = wanted.model_dump()
        return desk.of_session(held, lambda job: computing.uncertainty(held, asked["records"], asked["axis"], job))

    @app.post(SESSIONS + "/{session}/probability")
    async def probability(wanted: messages.Probability, held: Held) -> Response:
        """How likely the target is in each voxel. NDJSON."""
        asked = wanted.model_dump()
        return desk.of_session(held, lambda job: computing.probability(held, asked["records"], asked["drawn"], job))

    @app.post(SESSIONS + "/{session}/offset")
    async def offset(wanted: messages.Offset, held: Held) -> Response:
        """By how much the model's contours must move to fit what was drawn. NDJSON."""
        asked = wanted.model_dump()
        return desk.of_session(held, lambda job: computing.offset(held, asked["records"], job))


def _add_upkeep(app: FastAPI, store: Store) -> None:
    """What a client says while it waits, and at the end."""

    @app.post(SESSIONS + "/{session}/cancel", status_code=204)
    async def cancel(held: Held) -> None:
        """Stop what is computed of the session, before the next evaluation."""
        held.cancel()

    @app.post(SESSIONS + "/{session}/settle", status_code=204)
    async def settle(held: Held) -> None:
        """Let it go on with the best so far."""
        held.settle()

    @app.post(SESSIONS + "/{session}/alive")
    async def alive(held: Held) -> dict[str, float]:
        """Say that somebody still works with the session."""
        return {"lease_s": store.limits.lease_s}

    @app.delete(SESSIONS + "/{session}", status_code=204)
    async def close(held: Held) -> None:
        """Forget the session, and its image."""
        store.close(held)


async def _sweep(store: Store) -> None:
    while True:
        await asyncio.sleep(min(SWEEP_S, store.limits.lease_s))
        store.sweep()


def _say_refusals(app: FastAPI) -> None:
    """One sentence for each, in one form."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> JSONResponse:
        return _said(refusal.status, refusal.message)

    @app.exception_handler(UserInputError)
    async def unusable(request: Request, error: UserInputError) -> JSONResponse:
        return _said(400, str(error))

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> JSONResponse:
        return _said(499, "Nobody waits for the answer")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return _said(500, FAILED)

    @app.exception_handler(RequestValidationError)
    async def of_another_form(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _said(422, f"The message cannot be used: {where:.100}: {first['msg']:.200}")

    @app.exception_handler(HTTPException)
    async def not_here(request: Request, error: HTTPException) -> JSONResponse:
        return _said(error.status_code, f"{error.detail}; see docs/server.md for the addresses")


def _said(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": " ".join(message.split())}, status)
