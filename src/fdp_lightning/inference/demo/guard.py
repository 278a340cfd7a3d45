"""Protection of the demo's server against other web pages.

A browser lets any page of the web send requests to this machine. Three checks keep them out: the Host must be this
machine's own name, so that no other name can be made to point here (DNS rebinding); what is posted must come from the
demo's page, by its Origin; and headers forbid other pages to embed an answer.
"""

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    """Middleware that refuses requests of other pages, and sends a Content-Security-Policy with every answer."""

    def __init__(self, app: "ASGIApp", policy: str) -> None:
        self._app, self._headers = app, {**_HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if why := _refused(scope):
            await JSONResponse({"error": why}, 403)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)


def _refused(scope: "Scope") -> str:
    """Return the reason for refusing a request; '' to accept it."""
    headers = Headers(scope=scope)
    port = scope["server"][1]
    hosts = [f"{name}:{port}" for name in _NAMES] + list(_NAMES) * (port == 80)  # which browsers leave out
    host = headers.get("host", "")
    if host not in hosts:
        return f"This server only answers to http://{hosts[0]}."
    if scope["method"] not in ("GET", "HEAD"):
        origin = headers.get("origin", f"http://{host}")  # browsers always send it with a POST; curl does not
        site = headers.get("sec-fetch-site", "same-origin")
        if origin != f"http://{host}" or site != "same-origin":
            return "Only the demo's own page may send it videos."
    return ""
