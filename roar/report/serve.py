"""The report of a running experiment, served on this machine alone."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from roar.errors import FailureError, RoarError
from roar.report.files import current_page
from roar.store.results import finished_jobs
from roar.store.store import Store

REFRESH = 10  # seconds after which a browser asks again


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
    live = LivePage(store)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] not in ("/", "/index.html"):
                self.send_error(404)
                return
            try:
                body, status = live.html(), 200
            except RoarError as error:
                body, status = f"{error}\n".encode(), 503
            self.send_response(status)
            self.send_header("Content-Type", f"text/{'html' if status == 200 else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Refresh", str(REFRESH))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal belongs to the person."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise FailureError(f"Port {port} cannot be listened on ({error.strerror}); give another --port.") from None
    with server:
        ready(f"http://127.0.0.1:{server.server_port}/")
        server.serve_forever()
