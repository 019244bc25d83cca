"""A hub made of recorded replies: a real HTTP server that answers what a test put there and keeps what came."""
import http.server
import json
import os
import pathlib
import subprocess
import threading

BUILD = pathlib.Path(os.environ.get("DLHUB_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))


class Request:
    def __init__(self, handler, body):
        self.method, self.path, self.headers, self.body = handler.command, handler.path, handler.headers, body

    def json(self):
        return json.loads(self.body)


class ScriptedHub:
    """`on(method, path, *replies)`: each reply is (status, body[, headers]); the last one stays."""

    def __init__(self):
        self.replies, self.requests = {}, []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hub.requests.append(Request(self, body))
                key = (self.command, self.path.split("?")[0])
                queue = hub.replies.get(key) or [(404, {"error": f"no {key}", "code": "NOT_FOUND"})]
                status, content, *rest = queue.pop(0) if len(queue) > 1 else queue[0]
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (rest[0] if rest else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def on(self, method, path, *replies):
        self.replies[method, path] = list(replies)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def seen(self, method, path):
        return [r for r in self.requests if r.method == method and r.path.split("?")[0] == path]


class Cli:
    """Runs `dlhub` with a home of its own."""

    def __init__(self, home, endpoint=None, token=None):
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        if endpoint:
            self.environment["DLHUB_ENDPOINT"] = endpoint
        if token:
            self.environment["DLHUB_TOKEN"] = token

    def __call__(self, *arguments, code=0, text=True, **options):
        environment = {**self.environment, **options.pop("environment", {})}
        done = subprocess.run([BUILD / "bin" / "dlhub", *map(str, arguments)], capture_output=True, text=text, timeout=300,
                              env=environment, stdin=None if "input" in options else subprocess.DEVNULL, **options)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done
