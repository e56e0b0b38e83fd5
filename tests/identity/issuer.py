"""An OpenID Connect issuer for tests: a real HTTP server with keys of every kind, which can be broken in every way."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "https://caregraph.example"
FACILITY = UUID("00000000-0000-4000-8000-000000000001")
ELSEWHERE = UUID("00000000-0000-4000-8000-000000000002")

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair and the id under which its public half is published."""

    kid: str
    algorithm: str
    private: Any

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as a JSON Web Key."""
        public = self.private.public_key()
        kind: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[self.algorithm]
        return {**kind.to_jwk(public, as_dict=True), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        """A token; a header that is None is left out."""
        given = {"kid": self.kid, "typ": "at+jwt", **headers}
        left = {name: value for name, value in given.items() if value is not None}
        # As bytes: PyJWT's own encoder refuses claims that a forger would not.
        return jwt.PyJWS().encode(json.dumps(claims).encode(), self.private, self.algorithm, {"typ": "", **left})


RSA = Key("rsa-1", "RS256", rsa.generate_private_key(65537, 2048))
EC = Key("ec-1", "ES256", ec.generate_private_key(ec.SECP256R1()))
ED = Key("ed-1", "EdDSA", ed25519.Ed25519PrivateKey.generate())
STRANGER = Key("ec-1", "ES256", ec.generate_private_key(ec.SECP256R1()))
"""A key of somebody else who calls it what the issuer calls his own."""


@dataclass
class Issuer:
    """The running issuer: what it publishes, and what it was asked for; `answers` replaces the answer of a path."""

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [key.jwk for key in (RSA, EC, ED)])
    asked: list[str] = field(default_factory=list[str])
    answers: dict[str, Handler] = field(default_factory=dict[str, Handler])

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a physician; one that is None is left out."""
        now = int(time.time())
        usual: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 300,
            "sub": "9c7b",
            "roles": ["physician"],
            "facility": str(FACILITY),
            "purposes": ["TREAT"],
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers as an issuer does, or as the test wants."""
        self.asked.append(request.path)
        if request.path in self.answers:
            return await self.answers[request.path](request)
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}{JWKS}"})
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def issuing() -> AsyncGenerator[Issuer]:
    """An issuer on a free port of 127.0.0.1, until the end of the block."""
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/{path:.*}", issuer.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    issuer.url = f"http://{host}:{port}"
    try:
        yield issuer
    finally:
        await runner.cleanup()


def answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Handler:
    """A handler that always answers the same."""

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return handle


def json_answer(content: object) -> Handler:
    """A handler that always answers the same JSON."""
    return answer(json.dumps(content).encode())
