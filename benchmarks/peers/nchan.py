"""nginx with nchan, one worker process: subscribers by WebSocket, events by HTTP POST."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import allow_files
from benchmarks.peers.driver import Http, pids_of, running
from benchmarks.peers.openings import ROOM
from benchmarks.servers.lines import obey
from devel.ports import LOOPBACK, free_ports

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
BUFFER_EVENTS_MAX = 1_000

# One worker: as many processes as the others have. Temporary files stay in the folder, which is this run's.
CONFIG = """\
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_buffer_size 128k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {host}:{port} backlog=4096;
    location ~ ^/subscribe/(\\w+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }}
    location ~ ^/publish/(\\w+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length {buffer};
    }}
  }}
}}
"""


def missing() -> str | None:
    """Say what is not installed, and the remedy."""
    absent = [
        name
        for name, there in (("nginx", shutil.which("nginx")), ("libnginx-mod-nchan", MODULE.exists()))
        if not there
    ]
    return f"the packages {' and '.join(absent)}: `make bench-peers` installs them" if absent else None


class Channel:
    """The one channel that everybody is subscribed to."""

    def __init__(self, port: int) -> None:
        self._http = Http(port)
        self._message = b""
        self._path = f"/publish/{ROOM}"

    async def prepare(self, message: str) -> dict[str, Any]:
        """Take the message."""
        self._message = message.encode()
        return {}

    async def fanout(self, batches: int, events: int) -> dict[str, Any]:
        """Post the message so many times; each is answered before the next."""
        for _ in range(batches * events):
            status, body = self._http.request("POST", self._path, self._message)
            assert status in (http.client.CREATED, http.client.ACCEPTED), (status, body)
        return {}

    async def settle(self) -> dict[str, Any]:
        """Count the subscribers."""
        status, body = self._http.request("GET", self._path, headers={"Accept": "application/json"})
        return {"sockets": json.loads(body)["subscribers"] if status == http.client.OK else 0}

    async def serve(self, port: int) -> None:
        """Obey until the end of standard input."""
        await self.settle()  # Answered by the worker, which so is there.
        await obey(
            {"prepare": self.prepare, "fanout": self.fanout, "settle": self.settle},
            pids=pids_of("nginx"),
            port=port,
        )


def main() -> None:
    """Serve until the end of standard input."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # The worker is another user where the master is root.
        config = folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                module=MODULE,
                files=allow_files(),
                folder=folder,
                host=LOOPBACK,
                port=port,
                buffer=BUFFER_EVENTS_MAX,
            )
        )
        with running(["nginx", "-p", str(folder), "-c", str(config)], folder, port):
            channel = Channel(port)
            asyncio.run(channel.serve(port))


if __name__ == "__main__":
    main()
