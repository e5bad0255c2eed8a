"""The signed proofs of clients (`private_key_jwt`: RFC 7523, sections 2.2 and 3)."""

import time
from typing import Any

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ["ES256", "RS256"]
#: the longest life of a proof, in seconds
MAX_LIFE = 600


class ClientProofs:
    """Judges proofs by one public key, a PEM text. Each proof works once."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._seen: set[str] = set()

    def problem_of(self, params: dict[str, str], client: str, audiences: list[str]) -> str | None:
        """Why the proof in a token request is not valid; None if it is."""
        # Only servers with such clients need the library.
        import jwt

        if params.get("client_assertion_type") != TYPE or "client_secret" in params:
            return f"client_assertion_type {params.get('client_assertion_type')!r}"
        try:
            claims: dict[str, Any] = jwt.decode(
                params.get("client_assertion", ""),
                self._key or "",
                algorithms=ALGORITHMS,
                audience=audiences,
                issuer=client,
                options={"require": ["iss", "sub", "aud", "exp", "jti"]},
            )
        except jwt.PyJWTError as problem:
            return f"the proof is not valid: {problem}"
        if claims["sub"] != client:
            return f"sub {claims['sub']!r}"
        if not isinstance(claims["aud"], str):
            return "several audiences"
        if claims["exp"] > time.time() + MAX_LIFE:
            return "the proof lives too long"
        if claims["jti"] in self._seen:
            return "the proof was used before"
        self._seen.add(claims["jti"])
        return None
