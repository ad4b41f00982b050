"""Stands before the endpoints: who may ask, what is counted, and the headers of every answer."""

import hmac
import time
import typing
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import fastapi
from starlette import datastructures

from isic_tf.server.metrics import Metrics

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]
# Without a token: they hold nothing of a patient.
_OPEN = ("/", "/health")
_STATIC = "/static/"
_PATHS = (*_OPEN, "/run", "/judge", "/calibrate", "/metrics", "/openapi.json")
# Bytes of the body of a request that uploads nothing.
_MOST_BYTES = 100_000
HEADERS = {
    "cache-control": "no-store",
    # `data:` are the pictures in the answers.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _Problem(typing.NamedTuple):
    """Why a request is refused."""

    status: int
    text: str


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: _App, token: str, hosts: tuple[str, ...], metrics: Metrics) -> None:
        """Keeps what requests are held against.

        Args:
            app: The ASGI application behind it.
            token: What requests must send as `Authorization: Bearer`; "" for nothing.
            hosts: Names that requests may be addressed to, without the port; none for any. For a server without a
                token: pages of other sites could otherwise reach it by a name of theirs (DNS rebinding).
            metrics: What counts the requests.
        """
        self._app, self._token, self._hosts, self._metrics = app, token, hosts, metrics

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answers a request, or passes it on; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = datastructures.MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        path = scope["path"]
        try:
            problem = self._find_problem(scope["method"], path, datastructures.Headers(scope=scope))
            if problem:
                extra = {"www-authenticate": "Bearer"} if problem.status == 401 else None
                answer = fastapi.responses.JSONResponse({"detail": problem.text}, problem.status, extra)
                await answer(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        finally:
            label = _STATIC if path.startswith(_STATIC) else path if path in _PATHS else "other"
            self._metrics.count_request(label, status, time.perf_counter() - started)

    def _find_problem(self, method: str, path: str, headers: datastructures.Headers) -> _Problem | None:
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._hosts and name not in self._hosts:
            return _Problem(400, f"expected a request to {' or '.join(self._hosts)}; use that address")
        # A page of another site could not read the answers, but keep the server busy. It does not know a token.
        is_foreign = headers.get("sec-fetch-site") == "cross-site" or not _is_own(headers.get("origin"), host)
        if self._hosts and method != "GET" and is_foreign:
            return _Problem(403, "expected a request of the server's own page or of a program, got one of another site")
        is_open = path in _OPEN or path.startswith(_STATIC)
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        is_known = scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), self._token.encode())
        if self._token and not is_open and not is_known:
            return _Problem(401, "expected the server's token as 'Authorization: Bearer TOKEN'")
        if path != "/judge":
            if "transfer-encoding" in headers:
                return _Problem(411, "expected a request with its length; send Content-Length")
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > _MOST_BYTES:
                return _Problem(413, f"expected a request of at most {_MOST_BYTES} bytes")
        return None


def _is_own(origin: str | None, host: str) -> bool:
    """Returns whether the origin that a browser states is the address that the request is sent to."""
    return origin is None or origin.lower().partition("://")[2] == host
