"""nginx as a contender: static files by sendfile, a caching proxy, and a static upstream. Debian's build.

Where its defaults would flatter us, it is set as somebody would who cares: sendfile on, keep-alive without
end, log lines gathered as ours are, and proxy buffers large enough for files. `tcp_nopush` stays off, as is
its default: with it, ranges read one after another on one connection came several times slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.processes import CannotRun, Program, free_port

_PROGRAMS = ("nginx", "/usr/sbin/nginx")

_HTTP = """\
{user}daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    {access_log};
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{body}
}}
"""

_STATIC = """\
    server {{
        listen 127.0.0.1:{port} reuseport;
        root {root};
        # Signed addresses of a CDN end in the content's sha256, and so do the files here.
        location ~ "^/repos/.*/(?<digest>[0-9a-f]{{64}})$" {{ alias {root}/$digest; }}
    }}"""

_CACHE = """\
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=files:10m max_size=100g use_temp_path=off;
    upstream origin {{ server 127.0.0.1:{upstream_port}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache files;
            proxy_cache_valid 200 1d;
            proxy_cache_lock on;
{buffers}        }}
    }}"""

_LARGE_BUFFERS = """\
            proxy_buffer_size 16k;
            proxy_buffers 8 64k;
            proxy_busy_buffers_size 128k;
"""


@dataclass(slots=True)
class Nginx:
    """A running nginx."""

    program: Program
    port: int

    def stop(self) -> None:
        self.program.stop()


def program_path() -> str:
    """Where nginx is.

    Raises:
        CannotRun: it is not installed.
    """
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    raise CannotRun("nginx is not installed; scripts/setup-bench installs it")


def version() -> str:
    """Its version, as it says it."""
    said = subprocess.run([program_path(), "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


def static(folder: Path, root: Path, *, workers: int = 1, request_logs: bool = True) -> Nginx:
    """nginx serving the files of `root`, by name and by a CDN's addresses."""
    port = free_port()
    return _start(folder, _STATIC.format(port=port, root=root), port, workers, request_logs)


def cache(
    folder: Path, upstream: Nginx, *, workers: int = 1, request_logs: bool = True, large_buffers: bool = False
) -> Nginx:
    """nginx as a caching proxy before another, with an empty cache; its buffers as it comes, or larger."""
    port = free_port()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    buffers = _LARGE_BUFFERS if large_buffers else ""
    body = _CACHE.format(folder=folder, port=port, upstream_port=upstream.port, buffers=buffers)
    return _start(folder, body, port, workers, request_logs)


def _start(folder: Path, body: str, port: int, workers: int, request_logs: bool) -> Nginx:
    folder.mkdir(parents=True, exist_ok=True)
    access_log = (
        f"access_log {folder}/access.log combined buffer=64k flush=1s" if request_logs else "access_log off"
    )
    config = folder / "nginx.conf"
    # Started by root, its workers would be somebody who may not enter our folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(
        _HTTP.format(user=user, folder=folder, workers=workers, access_log=access_log, body=body)
    )
    if not Path("/etc/nginx/mime.types").exists():
        config.write_text(config.read_text().replace("    include /etc/nginx/mime.types;\n", ""))
    command = [program_path(), "-p", str(folder), "-c", str(config), "-e", str(folder / "start.log")]
    program = Program("nginx", command, folder / "output.log")
    try:
        program.wait_for_port("127.0.0.1", port)
    except CannotRun:
        program.stop()
        raise
    return Nginx(program, port)
