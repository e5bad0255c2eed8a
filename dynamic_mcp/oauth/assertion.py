"""The signed proof of a client (``private_key_jwt``: RFC 7523, section 2.2; OpenID Connect Core 1.0, section 9).

The library is the extra ``jwt``, loaded with the first signature.
"""

from __future__ import annotations

import time
import uuid

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.tokens import Signing

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Seconds.
LIFETIME = 120
_BY_KEY = {"RSAPrivateKey": "RS256", "Ed25519PrivateKey": "EdDSA", "Ed448PrivateKey": "EdDSA"}
_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def signed(key: Signing, client_id: str, audience: str) -> str:
    """A proof of this client for ``audience``, the authorization server. Raises UpstreamFailed."""
    try:
        import jwt
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise UpstreamFailed(
            "private_key_jwt needs the extra 'jwt': install dynamic-mcp-reference[jwt]"
        ) from None
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + LIFETIME,
    }
    headers = {} if key.key_id is None else {"kid": key.key_id}
    try:
        private = load_pem_private_key(key.pem.encode(), None)
        curve = getattr(getattr(private, "curve", None), "name", "")
        kind = next((name for name in _BY_KEY if name in type(private).__name__), "")
        algorithm = key.algorithm or _BY_CURVE.get(curve) or _BY_KEY.get(kind)
        return jwt.encode(claims, private, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]
    # The libraries have many errors, and none of their texts may be shown.
    except Exception as error:
        raise UpstreamFailed(
            f"the private key of private_key_jwt cannot be used ({type(error).__name__}): "
            "it has to be a PEM text without a password that fits the algorithm"
        ) from None
