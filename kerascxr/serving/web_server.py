"""A server for the browser page on this machine alone."""

import http
import logging
import urllib.parse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kerascxr.serving.web_names import listed_files

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
FIRST_PORT, PORTS = 8765, 20

_CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; "
    "img-src 'self' blob:; style-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    # Together they give the page threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".webmanifest": "application/manifest+json",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


class _Handler(SimpleHTTPRequestHandler):
    """Answers requests for the page's own files; everything else does not exist."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | _TYPES
    protocol_version = "HTTP/1.1"

    def __init__(self, *given: Any, files: frozenset[str], **options: Any):
        self._files = files
        super().__init__(*given, **options)

    def send_head(self) -> Any:
        """Opens the file that is asked for; see the class."""
        # Another site's name for this address must not read the page.
        name = self.headers.get("Host", "").partition(":")[0]  # port 80 is left out
        if name not in (HOST, "localhost"):
            self.send_error(http.HTTPStatus.FORBIDDEN)
            return None
        asked = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        if (asked or "index.html") not in self._files:
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return None
        # Another page at this address may be older than what the browser has of the last one.
        del self.headers["If-Modified-Since"]
        return super().send_head()

    def end_headers(self) -> None:
        """Adds ``HEADERS``."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        """Logs a request with --verbose only."""
        logger.debug(format % values)


def make_server(place: Path, port: int | None = None) -> ThreadingHTTPServer:
    """Makes a server of a page's folder; ``serve_forever`` starts it.

    Args:
        place: The folder.
        port: The port; 0 for any free one, None for the first free one from ``FIRST_PORT`` on.

    Raises:
        ValueError: If the folder is not whole, or the port is in use.
    """
    handler = partial(_Handler, directory=str(place), files=listed_files(place))
    wanted = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for number in wanted:
        try:
            server = _Server((HOST, number), handler)
        except (OSError, OverflowError) as error:
            failed = error
            continue
        if port is None and number != FIRST_PORT:
            logger.info(f"Port {FIRST_PORT} is in use; this is port {number}.")
        return server
    raise ValueError(
        f"--port must be a free port of this machine. Got port={wanted[0]} ({failed}); leave "
        "--port out for the next free one."
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leaves out the traceback of a browser that closes a connection early."""
        logger.debug("A connection was closed early.", exc_info=True)
