"""The private world of one check: HOME, TMPDIR, working directory and a scrubbed environment.

Nothing of the caller's environment reaches the implementation but PATH and what the operating system needs to
start a program: no proxy settings, no DYNAMIC_MCP_CONFIG, no RUST_LOG, no locale and no certificate authorities
of a developer's machine.
Every process that is started here carries a token in its environment, by which `census` finds it again.

Limits: this is isolation against accidents, not against malice; the implementation can read whatever the user
can.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "DMCP_CONFORMANCE_TOKEN"

# The machine's bundle of authorities takes OpenSSL 20 ms to read, which many a program does at each start; no check but those that
# bring their own needs one. This authority signs nothing: its key is gone.
_AUTHORITIES = Path(__file__).with_name("authority.pem")

#: what a program needs on Windows before it can open a socket
_SYSTEM_VARIABLES = ("SYSTEMROOT", "COMSPEC", "PATHEXT")


@dataclass(frozen=True)
class Sandbox:
    """The folders of one check, all below `root`, and the token of its processes."""

    root: Path
    token: str

    @staticmethod
    def create(label: str) -> Sandbox:
        """Make the folders; `label` becomes part of the path so that a kept sandbox can be recognised."""
        root = Path(tempfile.mkdtemp(prefix=f"conformance-{label}-")).resolve()
        sandbox = Sandbox(root, uuid.uuid4().hex)
        for folder in (sandbox.home, sandbox.tmp, sandbox.cwd, sandbox.configs, sandbox.mocks):
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
        """Where the implementation is started; empty unless the check puts something there."""
        return self.root / "cwd"

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def mocks(self) -> Path:
        """Scripts and journals of the mock servers."""
        return self.root / "mocks"

    def environment(self, token: str, *layers: dict[str, str]) -> dict[str, str]:
        """The scrubbed environment with this token; later layers win."""
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
        """Delete everything, also folders that a check made read-only."""
        for folder, _, _ in os.walk(self.root):
            os.chmod(folder, 0o700)  # top-down, so that the walk can enter it
        shutil.rmtree(self.root, ignore_errors=True)
