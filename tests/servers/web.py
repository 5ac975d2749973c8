"""A real HTTPS server on loopback under many names, each with a certificate of the test's own authority."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Page = Callable[[BaseHTTPRequestHandler], None]


def page(body: bytes, *, code: int = 200, **headers: str) -> Page:
    """Answers with this and nothing else."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


@contextlib.contextmanager
def web(contexts: Mapping[str, ssl.SSLContext], pages: Mapping[str, Page]) -> Iterator[tuple[int, list[str]]]:
    """Serves `pages` (by name and path, without the query) and hands out the port and the list of what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']}{self.path}")
            where = asked[-1].partition("?")[0]
            with contextlib.suppress(OSError):
                pages.get(where, page(b"nothing here", code=404))(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name in contexts:
            connection.context = contexts[name]

    server = Server(("127.0.0.1", 0), Handler)
    front = next(iter(contexts.values()))
    front.sni_callback = choose
    # The handshake belongs to the connection's own thread: a client that will not speak to us must not stop the others.
    server.socket = front.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
