"""An S3 server in a process of its own, and a proxy in front of it that fails now and then; both on loopback."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@contextmanager
def s3_server(bucket: str) -> Iterator[int]:
    """The port of a server that holds an empty bucket."""
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT")
        with urllib.request.urlopen(request):
            pass
        yield port
        process.stdin.close()


def environment(port: int) -> dict[str, str]:
    """What points every S3 client to the server."""
    return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


class Faults:
    """Which requests fail: so many in a row, of every so many."""

    def __init__(self, every: int, in_a_row: int) -> None:
        self.every, self.in_a_row, self.requests, self.injected = every, in_a_row, 0, 0
        self.lock = threading.Lock()

    def next(self) -> str:
        """``pass``, or how this request fails: three ways in turn."""
        with self.lock:
            self.requests += 1
            if self.requests % self.every >= self.in_a_row:
                return "pass"
            self.injected += 1
            return ("error", "drop", "half")[self.injected % 3]


@contextmanager
def failing_proxy(port: int, faults: Faults) -> Iterator[int]:
    """The port of a proxy that answers some requests with 500, drops some and breaks some off in their middle."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two packets, and the second waits 40 ms otherwise

        def forward(self) -> None:
            body = self.body()
            fate = faults.next()
            if fate == "drop":
                self.close_connection = True
                return
            if fate == "error":
                self.answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items()
                           if name.lower() not in ("expect", "transfer-encoding", "content-length", "connection")}
                upstream.request(self.command, self.path, body or None, headers)
                reply = upstream.getresponse()
                data = reply.read()
            finally:
                upstream.close()
            kept = {name: value for name, value in reply.getheaders()
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server")}
            if self.command == "HEAD":
                kept["Content-Length"] = reply.getheader("Content-Length") or "0"
            self.answer(reply.status, kept, data, cut=fate == "half")

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)

        def answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers and status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:len(data) // 2] if cut else data)
            self.close_connection = self.close_connection or cut

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that has gone is what this server is for

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
