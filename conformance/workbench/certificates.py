"""Certificates for 127.0.0.1 and localhost, made on demand: a good one, and several bad ones.

    authority = Authority(folder)
    upstream = await workbench.http("a", tls=authority.good())
    async with workbench.proxy(upstream, env=authority.environment) as proxy: ...

`environment` makes all usual clients trust this authority instead of the system's authorities. Limit: a client with a bundle of
authorities of its own does not trust it.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from conformance.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import trustme

HOSTS = ("127.0.0.1", "localhost")

#: certificate chain and key
Files = tuple["Path", "Path"]


class Authority:
    """A certificate authority that keeps its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        try:
            import trustme
        except ImportError as problem:
            raise UsageError("the TLS checks need trustme: pip install trustme") from problem
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._make = trustme.CA
        self._authority = trustme.CA()
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that name the authority for OpenSSL, rustls, curl, Python's requests and Node."""
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        return dict.fromkeys(names, str(self.file))

    def good(self, *more: str) -> Files:
        """A certificate that a client must accept, also for these hosts."""
        return self._written("-".join(("good", *more)), self._authority.issue_cert(*HOSTS, *more))

    def bad(self) -> dict[str, Files]:
        """Certificates that a client must refuse, by their fault."""
        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
        before = past - datetime.timedelta(days=30)
        expired = self._authority.issue_cert(*HOSTS, not_before=before, not_after=past)
        return {
            "expired": self._written("expired", expired),
            "wrong-host": self._written("wrong-host", self._authority.issue_cert("other.invalid")),
            "unknown-authority": self._written("unknown-authority", self._make().issue_cert(*HOSTS)),
            "self-signed": self._self_signed(),
        }

    def _self_signed(self) -> Files:
        own = self._make()
        chain, key = self._files("self-signed")
        own.cert_pem.write_to_path(str(chain))
        own.private_key_pem.write_to_path(str(key))
        return chain, key

    def _written(self, name: str, certificate: trustme.LeafCert) -> Files:
        chain, key = self._files(name)
        for place, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(chain), append=place > 0)
        certificate.private_key_pem.write_to_path(str(key))
        return chain, key

    def _files(self, name: str) -> Files:
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"
