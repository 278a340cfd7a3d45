"""The server of `task=demo`: the page, example videos, and one prediction at a time."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
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
"""Size limit of a video, which is held in memory."""

MOST_SECONDS = 120
"""Time limit of a prediction: a short 8K video without a face would block the demo for an hour."""

_MOST_WAITING = 3
"""Number of videos that are being uploaded or waiting; each is held in memory."""

_PIECE_S, _UPLOAD_S = 30, 300
"""Time limits of an upload, for the next piece and in total, seconds."""

_POLL_S = 0.25
"""Interval at which it is checked whether the client is still connected, seconds."""


class _RefusedError(Exception):
    """A request that is answered with an error message instead of a prediction."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def demo_app(
    model: "Model",
    example: Callable[[str], bytes] | None = None,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
) -> Starlette:
    """Make the demo of a model; `example` makes the example video of an emotion, by default a synthetic clip."""
    page, policy = page_of(model.facts, most_bytes)
    queue = _Queue()
    example = cache(example or _drawn)

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def give_example(emotion: str, request: Request) -> Response:
        return Response(await run_in_threadpool(example, emotion), media_type="video/mp4")

    async def predict(request: Request) -> Response:
        try:
            # A video gets its turn once it has arrived completely, so a slow upload delays nobody.
            with queue.place(), await _received(request, most_bytes) as video:
                async with queue.turn:
                    return JSONResponse(await _answered(request, model, video, most_seconds))
        except _RefusedError as refused:
            # The rest of a video that is too large is not read, so the connection cannot be used again.
            return JSONResponse({"error": str(refused)}, refused.status, {"Connection": "close"})
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        except ClientDisconnect:
            return Response(status_code=499)  # the client is gone
        except Exception:
            log.exception("the demo could not predict")
            message = "The demo failed, and not because of your video. See its terminal for the reason."
            return JSONResponse({"error": message}, 500)

    return Starlette(
        routes=[
            Route("/", show),
            Route("/example.mp4", partial(give_example, EXAMPLES[0])),
            Route("/example-2.mp4", partial(give_example, EXAMPLES[1])),
            Route("/predict", predict, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, policy=policy)],
    )


class _Queue:
    """A short queue that runs one prediction at a time: two at once would make both slower.

    Attributes:
        turn: lock held by the request whose video is being predicted.
    """

    def __init__(self) -> None:
        self.turn, self._inside = asyncio.Lock(), 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Occupy one place of the queue, or refuse the request before anything is read."""
        if self._inside > _MOST_WAITING:
            raise _RefusedError(503, f"{self._inside - 1} videos are waiting already. Try again later.")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


async def _answered(request: Request, model: "Model", video: BytesIO, most_seconds: float) -> dict[str, Any]:
    """Predict a video, as long as the client is connected and the time limit is not reached."""
    if await request.is_disconnected():  # while it waited for its turn
        raise ClientDisconnect
    name = unquote(request.headers.get("x-name", "")) or "video"
    task = asyncio.ensure_future(run_sync(partial(_predicted, model, video, name), abandon_on_cancel=True))
    end = time.monotonic() + most_seconds
    while not (await asyncio.wait({task}, timeout=_POLL_S))[0]:
        is_late = time.monotonic() > end
        if is_late or await request.is_disconnected():
            video.close()  # which ends the prediction at its next frame
            with suppress(Exception):
                await task
            if not is_late:
                raise ClientDisconnect
            raise _RefusedError(
                422,
                f"The video takes longer than the limit of {most_seconds:g} s. Cut out the relevant part, or reduce "
                "its resolution; task=predict has no such limit.",
            )
    return task.result()


def _predicted(model: "Model", video: BytesIO, name: str) -> dict[str, Any]:
    return answer_of(model.explained(model.look(video, name)))


async def _received(request: Request, most_bytes: int) -> BytesIO:
    """Read the body of a request into memory; its stated length is only used to refuse it early."""
    too_large = _RefusedError(413, f"The video is larger than {most_bytes / 1e6:g} MB. Cut out the relevant part.")
    if int(request.headers.get("content-length", 0)) > most_bytes:
        raise too_large
    video, end = BytesIO(), time.monotonic() + _UPLOAD_S
    pieces = aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(min(_PIECE_S, end - time.monotonic())):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise _RefusedError(408, "The upload of the video is too slow.") from None
        if piece is None:
            video.seek(0)
            return video
        if video.tell() + len(piece) > most_bytes:
            raise too_large
        video.write(piece)


def _drawn(emotion: str) -> bytes:
    """Return a synthetic clip as a video; drawing needs a file, which contains no real face."""
    with scratch_folder("fdp_lightning-demo-") as folder:
        return draw_example(folder, emotion).read_bytes()
