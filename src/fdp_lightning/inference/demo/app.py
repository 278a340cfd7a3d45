"""The server of `task=demo`: the page, example videos, one prediction at a time, and protection against other pages.

A browser lets any web page send requests to this machine. Three checks keep them out: the Host must be a name of this
machine itself, so that no other name can be made to point here (DNS rebinding); the Origin of posts must be the demo's
own page; and headers forbid other pages to embed a response.
"""

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from anyio.to_thread import run_sync
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fdp_lightning.data.synthetic.film import draw_film
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.charts import image_uri
from fdp_lightning.evaluation.pages import template
from fdp_lightning.extras import Extra, notes, number_format, sections
from fdp_lightning.files import scratch_folder
from fdp_lightning.inference.explanation import displayed_image
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan

if TYPE_CHECKING:
    from fdp_lightning.inference.model import Model

log = logging.getLogger("fdp_lightning")

MOST_BYTES = 200 * 10**6  # size limit of a video, which is held in memory

MOST_SECONDS = 120  # time limit of a prediction: a short 8K video without a face would block the demo for an hour

_MOST_WAITING = 3  # number of videos that are being uploaded or waiting; each is held in memory

_UPLOAD_S = 120  # time limit of an upload, seconds

EXAMPLES = ("surprise", "happiness")  # emotions of the synthetic clips that the page offers

_POLL_S = 0.25  # interval at which it is checked whether the client is still connected, seconds


def demo_app(
    model: "Model",
    example: Callable[[str], bytes] | None = None,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
) -> Starlette:
    """Build the demo of a model; `example` returns the example video of an emotion, by default a synthetic clip."""
    page, policy = page_of(model.facts, most_bytes)
    places = asyncio.Semaphore(1 + _MOST_WAITING)
    turn = asyncio.Lock()  # to predict: two predictions at once would slow each other down
    example = cache(example or _drawn)

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def give_example(emotion: str, request: Request) -> Response:
        return Response(await run_in_threadpool(example, emotion), media_type="video/mp4")

    async def predict(request: Request) -> Response:
        try:
            if places.locked():
                raise HTTPException(503, f"{_MOST_WAITING} videos are already waiting. Try again later.")
            # A video gets its turn once it has arrived completely, so a slow upload delays nobody.
            async with places:
                with await _received(request, most_bytes) as video:
                    async with turn:
                        return JSONResponse(await _answered(request, model, video, most_seconds))
        except HTTPException as refused:
            # The rest of a video that is too large is not read, so the connection cannot be reused.
            return JSONResponse({"error": refused.detail}, refused.status_code, {"Connection": "close"})
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        except ClientDisconnect:
            return Response(status_code=499)  # the client is gone
        except Exception:
            log.exception("the demo could not predict")
            message = "The demo failed, but not because of your video. See its terminal for the reason."
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


async def _answered(request: Request, model: "Model", video: BytesIO, most_seconds: float) -> dict[str, Any]:
    """Predict a video; stop if the client disconnects or the time limit is reached."""
    if await request.is_disconnected():  # while it waited for its turn
        raise ClientDisconnect
    name = unquote(request.headers.get("x-name", "")) or "video"
    task = asyncio.ensure_future(
        run_sync(lambda: answer_of(model.explained(model.look(video, name))), abandon_on_cancel=True)
    )
    end = time.monotonic() + most_seconds
    while not (await asyncio.wait({task}, timeout=_POLL_S))[0]:
        is_late = time.monotonic() > end
        if is_late or await request.is_disconnected():
            video.close()  # which ends the prediction at its next frame
            with suppress(Exception):
                await task
            if not is_late:
                raise ClientDisconnect
            raise HTTPException(
                422,
                f"Predicting the video takes longer than the limit of {most_seconds:g} s. Cut out the relevant part, "
                "or reduce its resolution; task=predict has no such limit.",
            )
    return task.result()


async def _received(request: Request, most_bytes: int) -> BytesIO:
    """Read the body of a request into memory; its stated length is only used to refuse it early."""
    too_large = HTTPException(413, f"The video is larger than {most_bytes / 1e6:g} MB. Cut out the relevant part.")
    if int(request.headers.get("content-length", 0)) > most_bytes:
        raise too_large
    video = BytesIO()
    try:
        async with asyncio.timeout(_UPLOAD_S):
            async for piece in request.stream():
                if video.tell() + len(piece) > most_bytes:
                    raise too_large
                video.write(piece)
    except TimeoutError:
        raise HTTPException(408, "The upload of the video is too slow.") from None
    video.seek(0)
    return video


def _drawn(emotion: str) -> bytes:
    """Return a synthetic clip as a video; drawing needs a file, which contains no real face."""
    with scratch_folder("fdp_lightning-demo-") as folder:
        draw_film(folder / "synthetic.mp4", emotion)
        return (folder / "synthetic.mp4").read_bytes()


_NAMES = ("127.0.0.1", "localhost")

_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Middleware that refuses requests from other pages and sends a Content-Security-Policy with every response."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app, self._headers = app, {**_HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if why := _refused(scope):
            await JSONResponse({"error": why}, 403)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)


def _refused(scope: Scope) -> str:
    """Return the reason for refusing a request; '' to accept it."""
    headers = Headers(scope=scope)
    port = scope["server"][1]
    hosts = [f"{name}:{port}" for name in _NAMES] + list(_NAMES) * (port == 80)  # which browsers omit
    host = headers.get("host", "")
    if host not in hosts:
        return f"This server only responds to http://{hosts[0]}."
    if scope["method"] not in ("GET", "HEAD"):
        origin = headers.get("origin", f"http://{host}")  # browsers always send it with a POST; curl does not
        site = headers.get("sec-fetch-site", "same-origin")
        if origin != f"http://{host}" or site != "same-origin":
            return "Only the demo's own page may send it videos."
    return ""


_HERE = Path(__file__).parent


def page_of(facts: Mapping[str, Any], most_bytes: int) -> tuple[str, str]:
    """Return the page of a model, and its Content-Security-Policy.

    The policy allows only the page's own style and script, by their hashes: nothing else that might get into the page,
    for example through a file name, is run, and nothing can be loaded from or sent to another server.
    """
    style, script = (Markup((_HERE / name).read_text()) for name in ("demo.css", "demo.js"))
    page = template("demo.html", _HERE).render(
        facts=facts,
        training=facts["training"],
        scores=facts["scores"],
        most_bytes=most_bytes,
        examples=EXAMPLES,
        style=style,
        script=script,
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
        "img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def answer_of(result: Prediction | Scan) -> dict[str, Any]:
    """Return a prediction or scan in the form that the page's script expects."""
    if isinstance(result, Prediction):
        return {"kind": "clip", **_clip(result)}
    return {
        "kind": "scan",
        **result.facts(),
        "strongest": _clip(result.strongest),
        "windows": [
            {"class": window.label}
            | {name: getattr(window, name) for name in ("start", "end", "probabilities", "motion")}
            for window in result.windows
        ],
    }


def _clip(prediction: Prediction) -> dict[str, Any]:
    return {
        **prediction.facts(),
        "frames": [image_uri(frame) for frame in prediction.frames],
        "sections": [
            {"heading": heading, "note": notes(extras), "extras": _shown(extras, prediction)}
            for heading, extras in sections(prediction.declared).items()
        ],
    }


def _shown(extras: Sequence[Extra], prediction: Prediction) -> list[dict[str, Any]]:
    """Return the extras of a section: an image as a data URI, or numbers with the texts that the page shows."""
    scalars = number_format(float(prediction.extras[extra.name]) for extra in extras if extra.kind == "scalar")
    shown = []
    for extra in extras:
        values, about = prediction.extras[extra.name], dict[str, Any](kind=extra.kind, title=extra.title)
        if extra.kind == "image":
            shown.append({**about, "image": image_uri(displayed_image(prediction, extra))})
            continue
        numbers = np.atleast_1d(values).tolist()
        form = scalars if extra.kind == "scalar" else number_format(numbers)
        shown.append({**about, "values": numbers, "texts": [form % number for number in numbers]})
    return shown


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
