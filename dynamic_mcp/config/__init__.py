"""The configuration file: its model, how it is read, and ``${VAR}`` expansion."""

from dynamic_mcp.config.load import load, parse
from dynamic_mcp.config.model import (
    Config,
    Features,
    HttpTransport,
    Server,
    SseTransport,
    StdioTransport,
    Timeouts,
)

__all__ = [
    "Config",
    "Features",
    "HttpTransport",
    "Server",
    "SseTransport",
    "StdioTransport",
    "Timeouts",
    "load",
    "parse",
]
