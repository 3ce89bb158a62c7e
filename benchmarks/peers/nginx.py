"""nginx, for scale: it serves files, or caches what it is given, and knows nothing of digests, tags or tokens."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.upstream.process import Upstream
from benchmarks.upstream.server import TOKEN
from tests.fakes.content import OCI_MANIFEST

_CONFIGURATION = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
worker_processes auto;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  {http}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /v2/ {{ return 200; }}
    {server}
  }}
}}
"""


class _Nginx(Peer):
    """Subclasses say what is served."""

    program = "nginx"
    http = ""
    server: str

    def configure(self, upstream: Upstream, folder: Path) -> list[str]:
        """Write its configuration."""
        values = {
            "user": "user root;" if os.geteuid() == 0 else "",  # who owns the files that it reads and writes
            "folder": folder,
            "port": self.port,
            "http": self.http.format(folder=folder),
            "server": self.server.format(content=upstream.content, upstream=upstream.url, token=TOKEN),
        }
        file = folder / "nginx.conf"
        file.write_text(_CONFIGURATION.format(**values))
        return ["-p", str(folder), "-e", str(folder / "errors"), "-c", str(file)]


class NginxFiles(_Nginx):
    """Serves the upstream's own files, by `sendfile`: as if all of them had been cached for ever."""

    server = f"""
    root {{content}};
    location ~ /manifests/ {{{{ default_type {OCI_MANIFEST}; }}}}
    """


class NginxCache(_Nginx):
    """Fetches with a token that it is given, keeps what comes, and has others wait for the end of a fetch."""

    http = "proxy_cache_path {folder}/cache keys_zone=cache:10m max_size=50g inactive=1d use_temp_path=off;"
    server = """
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer {token}";
      proxy_cache cache;
      proxy_cache_valid 200 1d;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 1h;
      proxy_cache_lock_age 1h;
    }}
    """
