"""The server of `task=demo`: the page, a video to try it with, and one prediction at a time."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from fdp_lightning.errors import UserError
from fdp_lightning.files import scratch_folder
from fdp_lightning.inference.demo.guard import Guard
from fdp_lightning.inference.demo.page import answer_of, page_of
from fdp_lightning.inference.example import EXAMPLES, draw_example

if TYPE_CHECKING:
    from fdp_lightning.inference.model import Model

log = logging.getLogger("fdp_lightning")

MOST_BYTES = 200 * 10**6
"""Of a video, which is held in memory."""

MOST_SECONDS = 120
"""Of work on one video: a short one in 8K without a face would keep everybody else waiting for an hour."""

_MOST_WAITING = 3
"""Videos that are being sent, or wait for the one that is being looked at; each is held in memory."""

_PATIENCE_S, _PATIENCE_IN_ALL_S = 30, 300
"""For the next piece of a video that is being sent, and for all of it, seconds."""

_LOOK_S = 0.25
"""How often it is asked whether somebody still waits for the answer, seconds."""


class _RefusedError(Exception):
    """A request that gets words instead of a prediction."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def demo_app(
    model: "Model",
    example: Callable[[str], bytes] | None = None,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
) -> Starlette:
    """The demo of a model.

    Args:
        model: of `load_model`.
        example: makes the video of an emotion that is offered to try it with; None: a synthetic clip, drawn at the
            first call.
        most_bytes: of a video.
        most_seconds: of work on a video.
    """
    page, policy = page_of(model.facts, most_bytes)
    queue = _Queue()
    example = cache(example or _drawn)

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    def giving(emotion: str) -> Callable[[Request], Awaitable[Response]]:
        async def give_example(request: Request) -> Response:
            return Response(await run_in_threadpool(example, emotion), media_type="video/mp4")

        return give_example

    async def predict(request: Request) -> Response:
        try:
            # Its turn comes when all of it is here: whoever sends slowly keeps nobody waiting.
            with queue.place(), await _received(request, most_bytes) as video:
                async with queue.turn:
                    return JSONResponse(await _answered(request, model, video, most_seconds))
        except _RefusedError as refused:
            # Of a video that is too large the rest is not read, so the connection cannot be used again.
            return JSONResponse({"error": str(refused)}, refused.status, {"Connection": "close"})
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except Exception:
            log.exception("the demo could not predict")
            words = "Something went wrong here that is not your video's fault. The terminal of the demo says what."
            return JSONResponse({"error": words}, 500)

    return Starlette(
        routes=[
            Route("/", show),
            Route("/example.mp4", giving(EXAMPLES[0])),
            Route("/example-2.mp4", giving(EXAMPLES[1])),
            Route("/predict", predict, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, policy=policy)],
    )


class _Queue:
    """Few requests at a time, of which one has its turn: two predictions at once would make both slower.

    Attributes:
        turn: held by the request whose video is being looked at.
    """

    def __init__(self) -> None:
        self.turn, self._inside = asyncio.Lock(), 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those that are being sent or wait; refused where all are taken, before anything is read."""
        if self._inside > _MOST_WAITING:
            raise _RefusedError(503, f"{self._inside - 1} videos are waiting already. Try again when they are done.")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


async def _answered(request: Request, model: "Model", video: BytesIO, most_seconds: float) -> dict[str, Any]:
    """Look at a video, for so long as somebody waits for it and the time that it has is not over."""
    if await request.is_disconnected():  # while it waited for its turn
        raise ClientDisconnect
    name = unquote(request.headers.get("x-name", "")) or "video"
    task = asyncio.ensure_future(run_sync(partial(_look, model, video, name), abandon_on_cancel=True))
    end = time.monotonic() + most_seconds
    while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
        is_late = time.monotonic() > end
        if is_late or await request.is_disconnected():
            video.close()  # which ends the work on it at its next frame
            with suppress(Exception):
                await task
            if not is_late:
                raise ClientDisconnect
            raise _RefusedError(
                422,
                f"The video takes longer than the {most_seconds:g} s that one has here. Cut out the part that matters, "
                "or make its picture smaller; task=predict has no such limit.",
            )
    return task.result()


def _look(model: "Model", video: BytesIO, name: str) -> dict[str, Any]:
    return answer_of(model.look(video, name), model.facts)


async def _received(request: Request, most_bytes: int) -> BytesIO:
    """The body of a request, in memory; what it says of its own length is believed only where it is too much."""
    too_large = _RefusedError(413, f"The video is larger than {most_bytes / 1e6:g} MB. Cut out the part that matters.")
    if int(request.headers.get("content-length", 0)) > most_bytes:
        raise too_large
    video, end = BytesIO(), time.monotonic() + _PATIENCE_IN_ALL_S
    pieces = aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(min(_PATIENCE_S, end - time.monotonic())):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise _RefusedError(408, "The video is sent too slowly; nothing of it was looked at.") from None
        if piece is None:
            video.seek(0)
            return video
        if video.tell() + len(piece) > most_bytes:
            raise too_large
        video.write(piece)


def _drawn(emotion: str) -> bytes:
    """A synthetic clip as a video; a film is written to a file, but this one shows nobody."""
    with scratch_folder("fdp_lightning-demo-") as folder:
        return draw_example(folder, emotion).read_bytes()
