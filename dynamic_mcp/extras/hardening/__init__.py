"""Restrictions of child processes: variables of the environment, resource limits, and a sandbox command."""

from __future__ import annotations

import os

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.extras.hardening import limits
from dynamic_mcp.extras.hardening.environment import inherited
from dynamic_mcp.process.child import Launch


def launch(transport: StdioTransport) -> Launch:
    """How to start this child. Raises UpstreamFailed for limits that the system does not support."""
    own = {name: value.reveal() for name, value in transport.env}
    return Launch(
        (*transport.prefix, transport.command, *transport.args),
        {**inherited(transport.environment, os.environ), **own},
        transport.cwd,
        before_exec=limits.setter(transport.limits),
        program="the program of its command_prefix" if transport.prefix else "the command",
        explain=lambda status: limits.explained(status, transport.limits),
    )
