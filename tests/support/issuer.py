"""An issuer of signed tokens on loopback, in the shape of a CI's or a cloud's; it signs what a test wants.

with Issuer() as issuer:
    issuer.token(aud=gateway.url, repository="acme/tiny")      # a right one
    issuer.rotate()                                            # another key from now on
    issuer.asked                                               # paths that were asked for

It also answers what GitHub's runners ask for their tokens (`/mint?audience=…`).
"""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwk, jws


def part(value: object) -> str:
    """A part of a token, unsigned."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Serves its discovery document and its keys; signs with the newest one."""

    def __init__(self, algorithm: str = "RS256") -> None:
        self.algorithm = algorithm
        self.asked: list[str] = []
        self.runner_claims: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.silent = False
        self._keys: list[Any] = []
        self._number = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.rotate()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self) -> None:
        """Sign with a new key; the others are published no more."""
        self._number += 1
        name = {"kid": f"key-{self._number}", "use": "sig"}
        if self.algorithm.startswith("ES"):
            self._keys = [jwk.ECKey.generate_key("P-256", name)]
        else:
            self._keys = [jwk.RSAKey.generate_key(2048, name)]

    @property
    def key(self) -> Any:
        return self._keys[-1]

    def public_keys(self) -> list[dict[str, Any]]:
        return [key.as_dict(private=False) for key in self._keys]

    def claims(self, **more: Any) -> dict[str, Any]:
        """Right claims of a run of a workflow; None leaves one out."""
        now = int(time.time())
        told = {
            "iss": self.url,
            "sub": "repo:acme/tiny:ref:refs/heads/main",
            "repository": "acme/tiny",
            "ref": "refs/heads/main",
            "iat": now,
            "nbf": now - 5,
            "exp": now + 300,
            **more,
        }
        return {name: value for name, value in told.items() if value is not None}

    def token(self, header: dict[str, Any] | None = None, key: Any = None, **more: Any) -> str:
        """A token with these claims, signed rightly unless told otherwise."""
        algorithm = (header or {}).get("alg", self.algorithm)
        head = {"alg": algorithm, "kid": self.key.kid, "typ": "JWT", **(header or {})}
        registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        payload = json.dumps(self.claims(**more)).encode()
        return jws.serialize_compact(head, payload, key or self.key, [algorithm], registry)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                where = urlsplit(self.path)
                if issuer.silent:
                    self.send_error(503)
                elif where.path == "/.well-known/openid-configuration":
                    self._say({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **issuer.metadata})
                elif where.path == "/keys":
                    self._say({"keys": issuer.public_keys()})
                elif where.path == "/mint":
                    audience = parse_qs(where.query)["audience"][0]
                    self._say({"value": issuer.token(aud=audience, **issuer.runner_claims)})
                else:
                    self.send_error(404)

            def _say(self, told: object) -> None:
                body = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                """Nobody listens."""

        return Handler
