"""A real server that cuts, stalls, lies, redirects and forgets how to resume."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 2000  # 512 kB


def strong(validators):
    return [value for value in validators.values() if not value.startswith("W/")]


class Site:
    """What the server does next, and what it was asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.validators = {"ETag": '"one"'}
        self.ranges = True
        self.shift = 0
        """Bytes by which the next answer to a Range starts elsewhere."""
        self.most: int | None = None
        """Bytes of a Range that are answered at most."""
        self.chunked = False
        self.drop = 0
        """Connections that end before the answer."""
        self.cuts: list[int] = []
        """Bytes after which the next answers stop."""
        self.statuses: list[int] = []
        """Answers before the real one."""
        self.stall = 0.0
        self.slow = 0.0
        self.length: int | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0


@contextlib.contextmanager
def served() -> Iterator[Site]:
    """A server on loopback that does what its state says."""
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", "/files/" + self.path.rsplit("/", 1)[1])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path.startswith("/local/"):
                self.send_response(302)
                self.send_header("Location", "file:///etc/hostname")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if state.drop:
                state.drop -= 1
                self.close_connection = True
                return
            status = state.statuses.pop(0) if state.statuses else 200
            if "missing" in self.path:
                status = 404
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            whole = len(state.content)
            if wanted and state.ranges and self.headers.get("If-Range") in strong(state.validators):
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) - state.shift
                state.shift = 0
                body = state.content[start:][: state.most]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{whole}")
            else:
                body = state.content
                self.send_response(200)
            for name, value in state.validators.items():
                self.send_header(name, value)
            if state.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header(
                    "Content-Length", str(len(body) if state.length is None else state.length)
                )
            self.send_header("Content-Disposition", 'attachment; filename="../../evil"')
            self.end_headers()
            if state.stall:
                pause, state.stall = state.stall, 0.0
                self.wfile.write(body[:1000])
                self.wfile.flush()
                time.sleep(pause)
                self.close_connection = True
                return
            time.sleep(state.slow)
            cut = state.cuts.pop(0) if state.cuts else len(body)
            if state.chunked:
                self.wfile.write(b"%x\r\n%s\r\n" % (cut, body[:cut]))
                self.wfile.write(b"" if cut < len(body) else b"0\r\n\r\n")
            else:
                self.wfile.write(body[:cut])
            state.sent += len(body[:cut])
            if cut < len(body):
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args):
            pass  # a client that hangs up is part of these tests

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
