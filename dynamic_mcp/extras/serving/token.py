"""The token that clients of a proxy over HTTP need."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import MutableMapping

from dynamic_mcp import files
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.log import log

VARIABLE = "DYNAMIC_MCP_TOKEN"
#: A shorter token can be guessed.
MIN_LENGTH = 16
#: Bytes of a token file.
MAX_FILE = 1 << 16
#: RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def token_from(file: str | None, environment: MutableMapping[str, str]) -> str | None:
    """The token in a file, else in the environment, else None. Raises ConfigError.

    The variable leaves the environment, so that no server gets it.
    """
    found, where = environment.pop(VARIABLE, None) or None, f"the variable {VARIABLE}"
    if file is not None:
        where = f"the file {file}"
        try:
            descriptor = files.open_file(file, follow=True)
            try:
                mode = os.fstat(descriptor).st_mode
                found = files.read_from(descriptor, MAX_FILE).decode().strip()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigError(f"cannot read the token in {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{where} holds no token") from None
        if mode & 0o077 and sys.platform != "win32":
            log.warning("other users can read the token: chmod 600 %s", file)
    if found is not None and not (len(found) >= MIN_LENGTH and _TOKEN.fullmatch(found)):
        raise ConfigError(
            f"{where} must hold a token of at least {MIN_LENGTH} letters, digits or -._~+/; "
            "for example the output of: python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return found
