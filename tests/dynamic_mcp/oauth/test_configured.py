"""Clients that an entry configures: how they authenticate, what they sign, and what is stored of them."""

from __future__ import annotations

from pathlib import Path

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dynamic_mcp.config.model import OAuthSettings, SigningKey
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.configured import completed, configured_client, named_resource, without_secrets
from dynamic_mcp.oauth.metadata import ServerMetadata
from dynamic_mcp.oauth.registration import authenticate
from dynamic_mcp.oauth.tokens import ClientRegistration
from dynamic_mcp.secret import Secret
from tests.dynamic_mcp.oauth.kit import ISSUER, KEY, TOKEN

SECRET = OAuthSettings(client_secret=Secret(KEY))


def server(*offered: str) -> ServerMetadata:
    return ServerMetadata(
        ISSUER, "https://as.test/authorize", TOKEN, token_endpoint_auth_methods_supported=[*offered] or None
    )


@pytest.mark.parametrize(
    ("offered", "method"),
    [
        ((), "client_secret_basic"),
        (("none", "client_secret_post"), "client_secret_post"),
        (("client_secret_post", "client_secret_basic"), "client_secret_basic"),
    ],
)
def test_secret_is_sent_as_the_server_says(offered: tuple[str, ...], method: str) -> None:
    client = configured_client("app", SECRET, server(*offered))

    assert (client.method, client.client_secret) == (method, KEY)


@pytest.mark.parametrize(
    ("offered", "may_be_in_form"),
    [
        ((), True),
        (("client_secret_basic",), False),
        (("client_secret_basic", "client_secret_post"), True),
        (("client_secret_post",), True),
    ],
)
def test_secret_may_be_in_the_form_if_the_server_does_not_exclude_it(
    offered: tuple[str, ...], may_be_in_form: bool
) -> None:
    assert configured_client("app", SECRET, server(*offered)).is_guess == may_be_in_form


def test_client_without_a_secret_is_public() -> None:
    assert configured_client("app", OAuthSettings(), server("client_secret_basic")) == ClientRegistration(
        "app"
    )


def test_nothing_secret_is_stored() -> None:
    stored = without_secrets(configured_client("app", SECRET, server("client_secret_post")))

    assert stored is not None
    assert KEY not in msgspec.json.encode(stored).decode()
    assert completed(stored, SECRET).client_secret == KEY
    assert completed(stored, SECRET).method == "client_secret_post"


def test_registered_client_keeps_its_own_secret() -> None:
    registered = ClientRegistration("made", KEY, "client_secret_basic", registered=True)

    assert completed(registered, OAuthSettings()) == without_secrets(registered) == registered


def pem_of(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
def test_key_signs_with_its_usual_algorithm(private: ec.EllipticCurvePrivateKey, algorithm: str) -> None:
    key = SigningKey(pem=Secret(pem_of(private).replace("\n", "\\n")), key_id="k1")
    client = configured_client("app", OAuthSettings(key=key), server("private_key_jwt"))

    form, basic = authenticate(client, {"grant_type": "x"})

    assert basic is None
    assert form["client_id"] == "app"
    proof = form["client_assertion"]
    assert jwt.get_unverified_header(proof) == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    claims = jwt.decode(proof, private.public_key(), [algorithm], audience=ISSUER, issuer="app")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("app", 120)
    assert authenticate(client, {})[0]["client_assertion"] != proof
    assert "PRIVATE" not in msgspec.json.encode(without_secrets(client)).decode()
    assert "PRIVATE" not in repr(client)


def test_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "k.pem"
    file.write_text(pem_of(ec.generate_private_key(ec.SECP256R1())))

    assert configured_client("app", OAuthSettings(key=SigningKey(file=str(file))), server()).key is not None


@pytest.mark.parametrize("key", [SigningKey(pem=Secret(KEY)), SigningKey(file="/nowhere/k.pem")])
def test_unusable_key_shows_nothing_of_itself(key: SigningKey) -> None:
    with pytest.raises(UpstreamFailed, match="private_key_jwt cannot be") as caught:
        configured_client("app", OAuthSettings(key=key), server())

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "sent"), [(True, {"resource": "r"}), (False, {}), ("api://x", {"resource": "api://x"})]
)
def test_named_resource(setting: bool | str, sent: dict[str, str]) -> None:
    assert named_resource(OAuthSettings(resource=setting), "r") == sent
