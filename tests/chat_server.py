"""A local server with as much of OpenAI's chat interface as the engine uses; who writes the answers is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

AnyServer = TypeVar("AnyServer", bound="ChatServer")
Responder = Callable[[dict[str, Any]], tuple[int, object]]
"""Returns status and document for the body of one chat request."""


CHAT = "/v1/chat/completions"
HANG_UP = 0
"""As a refusal's status: the connection ends without a reply."""


class ChatHandler(BaseHTTPRequestHandler):
    """Reads requests, writes replies, and refuses where the server has been told to."""

    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """List the models: the one that is served, unless the server has been told to list others."""
        cards = self.server.cards()
        self._reply(200 if cards else 404, {"data": cards})

    def do_POST(self) -> None:
        """Answer a chat request or another, or refuse it as the server has been told to."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.authorizations.append(self.headers["Authorization"])
            if self.server.refusals:
                self._reply(self.server.refusals.pop(0), {"error": {"message": "busy"}})
            elif self.path != CHAT:
                self._reply(*self.server.serve(self.path, body))
            elif body["model"] not in self.server.known():
                self._reply(404, {"error": {"message": f"no model {body['model']}"}})
            else:
                self._reply(*self.server.answer(body))

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _reply(self, status: int, document: object) -> None:
        if status == HANG_UP:
            self.close_connection = True
            return
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.server.retry_after_s is not None and status != 200:
            self.send_header("Retry-After", str(self.server.retry_after_s))
        self.end_headers()
        self.wfile.write(content)


class ChatServer(ThreadingHTTPServer):
    """Serves one model; ``bodies`` are the requests so far, ``refusals`` the next replies' statuses.

    Without a ``port`` it takes a free one. ``authorizations`` are the requests' headers of that name; ``retry_after_s``
    goes out with every refusal; ``listed`` are the names that it lists in place of its model's, none of them: it lists
    nothing, as some servers.
    """

    daemon_threads = True
    model_name = "tiny"

    def __init__(self, answer: Responder, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), ChatHandler)
        self.answer = answer
        self.lock = threading.Lock()
        self.refusals: list[int] = []
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.retry_after_s: int | None = None
        self.listed: list[str] | None = None

    @property
    def url(self) -> str:
        """The address to give as ``generation.base_url``."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def known(self) -> list[str]:
        """Return the names of the models that it answers as."""
        return [self.model_name]

    def cards(self) -> list[dict[str, object]]:
        """Return what it lists."""
        return [{"id": name} for name in (self.known() if self.listed is None else self.listed)]

    def serve(self, path: str, _body: dict[str, Any]) -> tuple[int, object]:
        """Return status and document for a request that is none for a chat."""
        return 404, {"error": {"message": f"nothing at {path}"}}


@contextmanager
def serving(answer: Responder) -> Iterator[ChatServer]:
    """Run a server."""
    with running(ChatServer(answer)) as server:
        yield server


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Run a server that is there."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def reply(text: str, tokens: int, *, finished: bool, **choice: object) -> tuple[int, object]:
    """Return status and document of one answer."""
    message = {"role": "assistant", "content": text}
    choices = [{"message": message, "finish_reason": "stop" if finished else "length", **choice}]
    return 200, {"choices": choices, "usage": {"completion_tokens": tokens}}
