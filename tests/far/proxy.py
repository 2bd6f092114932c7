"""A plain HTTP proxy, as a site behind a firewall has one: what goes through it is counted."""

import http.client
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.listening import Listening


class Proxy(Listening):
    """Forwards whatever it is asked for; entered, it serves on *address* until the block ends."""

    def __init__(self, address: str) -> None:
        #: Requests by the host and port that they were for.
        self.requests: Counter[str] = Counter()
        server = _Server((address, 0), _Handler)
        server.proxy = self
        super().__init__(server)


class _Server(ThreadingHTTPServer):
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _forward(self) -> None:
        target = urlsplit(self.path)
        self.server.proxy.requests[target.netloc] += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        onward = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("proxy-connection", "connection")}
            path = target.path + (f"?{target.query}" if target.query else "")
            onward.request(self.command, path, body=body, headers=headers)
            answer = onward.getresponse()
            data = answer.read()
        except OSError:
            self.send_error(502)
            return
        finally:
            onward.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_HEAD = _forward

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
