"""The report of a running experiment, served on this machine alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any

from roar.errors import FailureError, RoarError
from roar.report.files import current_page
from roar.store.results import finished_jobs
from roar.store.store import Store

REFRESH = 10  # seconds after which a browser asks again
IDLE = 15.0  # seconds that a connection may say nothing
AT_A_TIME = 16  # connections; others wait


class LivePage:
    """The page of a store, made again when there are new results."""

    def __init__(self, store: Store) -> None:
        self._store, self._html, self._lock = store, b"", Lock()
        self._seen: object = None

    def html(self) -> bytes:
        with self._lock:
            state = finished_jobs(self._store.files)
            if state != self._seen:
                self._html = current_page(self._store).encode()
                self._seen = state
            return self._html


def serve_page(store: Store, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted, on loopback only; ``ready`` is given the address.

    Raises:
        FailureError: the port is taken.
    """
    try:
        server = PageServer(LivePage(store), port)
    except OSError as error:
        raise FailureError(f"Port {port} cannot be listened on ({error.strerror}); give another --port.") from None
    with server:
        ready(f"http://127.0.0.1:{server.server_port}/")
        server.serve_forever()


class PageServer(ThreadingHTTPServer):
    """One page for browsers on this machine; a bounded number of connections at a time."""

    daemon_threads = True

    def __init__(self, live: LivePage, port: int) -> None:
        self.live, self.free = live, BoundedSemaphore(AT_A_TIME)
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of a browser that has left, nothing."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = IDLE

    def do_GET(self) -> None:
        status, body = self._answer()
        self.send_response(status)
        self.send_header("Content-Type", f"text/{'html' if status == 200 else 'plain'}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Refresh", str(REFRESH))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self) -> tuple[int, bytes]:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
            return 421, b"This page is served on this machine alone.\n"  # a name that somebody else resolves to it
        if self.path.split("?")[0] not in ("/", "/index.html"):
            return 404, b"There is one page, at /.\n"
        try:
            return 200, self.server.live.html()
        except RoarError as error:
            return 503, f"{error}\n".encode()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal belongs to the person."""
