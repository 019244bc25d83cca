"""nginx with one worker that returns a constant: the limit of what HTTP costs on this machine."""

import http.client
import shutil

from measure import Target, free_port, wait_for
from peers.process import Server

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path {folder}/body;
	proxy_temp_path {folder}/proxy;
	fastcgi_temp_path {folder}/fastcgi;
	uwsgi_temp_path {folder}/uwsgi;
	scgi_temp_path {folder}/scgi;
	server {{
		listen 127.0.0.1:{port};
		location / {{
			default_type application/json;
			return 200 '{answer}';
		}}
	}}
}}
"""


class Nginx(Server):
    name = "nginx"

    def __init__(self, folder, fetched, answer: bytes):
        """`fetched`: where bench/setup.sh put nginx if the machine had none."""
        super().__init__(folder)
        self.program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or fetched / "usr" / "sbin" / "nginx"
        self.answer = answer.decode()

    def start(self) -> None:
        self.port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "nginx.conf"
        file.write_text(CONFIGURATION.format(folder=self.folder, port=self.port, answer=self.answer))
        self.launch([self.program, "-p", self.folder, "-c", file])
        wait_for("nginx", self.serves)

    def serves(self) -> bool:
        self.check_alive()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/", b"{}")
            return connection.getresponse().read().decode() == self.answer
        except OSError:
            return False
        finally:
            connection.close()

    def target(self, like: Target) -> Target:
        """The same request as another server gets."""
        return Target(self.port, like.path, like.body, self.pids, like.token, like.content_type)
