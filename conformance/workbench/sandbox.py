"""The sandbox of one check: HOME, TMPDIR, working directory and a scrubbed environment.

Of the caller's environment only PATH reaches the implementation, and what the operating system needs to start a program. Proxy settings,
DYNAMIC_MCP_CONFIG, RUST_LOG, the locale and the certificate authorities of a developer's machine do not. Every process in the sandbox
carries a token in its environment, by which `census` finds it again.

Limit: the sandbox protects against accidents, not against malice; the implementation can read every file that the user can.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "DMCP_CONFORMANCE_TOKEN"

# OpenSSL needs 20 ms to read the machine's bundle of authorities, and many programs read it at each start. Only checks with an authority
# of their own need one, so all others get this one, which signs nothing: its key is gone.
_AUTHORITIES = Path(__file__).with_name("authority.pem")

#: what a program on Windows needs to open a socket
_SYSTEM_VARIABLES = ("SYSTEMROOT", "COMSPEC", "PATHEXT")


@dataclass(frozen=True)
class Sandbox:
    """The folders of one check, all below `root`, and the token of its processes."""

    root: Path
    token: str

    @staticmethod
    def create() -> Sandbox:
        """Make the folders. Their names are the same for every check, or random, so that none of them tells which check it is."""
        root = Path(tempfile.mkdtemp()).resolve()
        sandbox = Sandbox(root, uuid.uuid4().hex)
        for folder in (
            sandbox.home,
            sandbox.tmp,
            sandbox.cwd,
            sandbox.configs,
            sandbox.mocks,
            sandbox.programs,
        ):
            folder.mkdir(mode=0o700)
        return sandbox

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def cwd(self) -> Path:
        """The working directory of the implementation; empty unless the check puts something there."""
        return self.root / "cwd"

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def mocks(self) -> Path:
        """Scripts and journals of the mock servers."""
        return self.root / "mocks"

    @property
    def programs(self) -> Path:
        """The programs that start the mock servers on stdio."""
        return self.root / "programs"

    def environment(self, token: str, *layers: dict[str, str]) -> dict[str, str]:
        """The scrubbed environment with this token; later layers override earlier ones."""
        system = {name: os.environ[name] for name in _SYSTEM_VARIABLES if name in os.environ}
        environment = {
            **system,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "TMPDIR": str(self.tmp),
            "LANG": "C.UTF-8",
            "NO_PROXY": "*",
            "no_proxy": "*",
            "SSL_CERT_FILE": str(_AUTHORITIES),
        }
        for layer in layers:
            environment.update(layer)
        environment[TOKEN_VARIABLE] = token
        return environment

    def remove(self) -> None:
        """Delete everything, even folders that a check made read-only."""
        for folder, _, _ in os.walk(self.root):
            os.chmod(folder, 0o700)  # top-down, so that the walk can enter it
        shutil.rmtree(self.root, ignore_errors=True)
