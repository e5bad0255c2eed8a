"""The AI tools that servers can be imported from: where their files lie and what is special about them.

Locations and field names are those of the tools' documentation in November 2026. A tool that is not listed, but writes the common
form (``mcpServers`` with ``command`` or ``url``), can be read as ``cursor``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Place:
    """What locations depend on."""

    project: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    platform: str = sys.platform

    @property
    def applications(self) -> Path:
        """Where programs keep the settings of the user."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return Path(self.environment.get("APPDATA") or self.home / "AppData" / "Roaming")
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")

    @property
    def dot_config(self) -> Path:
        """Where programs that follow XDG on every platform keep them."""
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")


@dataclass(frozen=True)
class Tool:
    """One AI tool."""

    name: str
    title: str
    #: files of a project, relative to it; the first one that exists is read
    project_files: tuple[str, ...] = ()
    #: files of the user: what ``Place`` has, and the path below it; the first one that exists is read
    global_files: tuple[tuple[Literal["home", "applications", "dot_config"], str], ...] = ()
    #: an environment variable that names the folder of the last part of a global file
    folder_variable: str | None = None
    #: the members that hold the servers, one inside the other
    keys: tuple[str, ...] = ("mcpServers",)
    #: which texts the tool replaces: "dollar-env" ``${env:X}``, "braces-env" ``{env:X}``, "dollar" ``$X``, "shell" ``${X}`` with
    #: ``${X:-default}``, "plain" ``${X}``, "percent" ``%X%``, "workspace" ``${workspaceFolder}`` and its kind, "input" ``${input:X}``,
    #: "file" ``{file:X}``
    references: frozenset[str] = frozenset()
    #: seconds that one unit of an entry's ``timeout`` stands for; None where it is not about calls
    timeout_unit: float | None = 1.0
    aliases: tuple[str, ...] = ()

    def files(self, place: Place, *, of_user: bool) -> list[Path]:
        """Where the servers may be, the likeliest first; empty when the tool has no such file."""
        if not of_user:
            return [place.project / file for file in self.project_files]
        named = self.folder_variable and place.environment.get(self.folder_variable)
        if named:
            return [Path(named) / Path(file).name for _, file in self.global_files]
        return [getattr(place, base) / file for base, file in self.global_files]


_EDITOR = frozenset({"dollar-env", "workspace"})
_EXTENSIONS = "Code/User/globalStorage"

TOOLS = (
    Tool(
        "cursor",
        "Cursor",
        (".cursor/mcp.json",),
        (("home", ".cursor/mcp.json"),),
        references=_EDITOR,
    ),
    Tool(
        "opencode",
        "OpenCode",
        ("opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"),
        (("dot_config", "opencode/opencode.json"), ("dot_config", "opencode/opencode.jsonc")),
        keys=("mcp",),
        references=frozenset({"braces-env", "file"}),
        timeout_unit=None,
    ),
    Tool(
        "claude-desktop",
        "Claude Desktop",
        global_files=(("applications", "Claude/claude_desktop_config.json"),),
    ),
    Tool(
        "claude",
        "Claude Code",
        (".mcp.json",),
        (("home", ".claude.json"),),
        folder_variable="CLAUDE_CONFIG_DIR",
        references=frozenset({"shell"}),
        timeout_unit=0.001,
        aliases=("claude-code",),
    ),
    Tool(
        "vscode",
        "VS Code",
        (".vscode/mcp.json",),
        (("applications", "Code/User/mcp.json"),),
        keys=("servers",),
        references=_EDITOR | {"input"},
    ),
    Tool(
        "cline",
        "Cline",
        (".cline/mcp.json",),
        (
            ("applications", f"{_EXTENSIONS}/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
            ("home", ".cline/data/settings/cline_mcp_settings.json"),
        ),
        references=frozenset({"dollar-env"}),
    ),
    Tool(
        "kilocode",
        "KiloCode",
        (".kilocode/mcp.json",),
        (("applications", f"{_EXTENSIONS}/kilocode.kilo-code/settings/mcp_settings.json"),),
        references=_EDITOR,
    ),
    Tool(
        "codex",
        "Codex CLI",
        (".codex/config.toml",),
        (("home", ".codex/config.toml"),),
        folder_variable="CODEX_HOME",
        keys=("mcp_servers",),
        aliases=("codex-cli",),
    ),
    Tool(
        "gemini",
        "Gemini CLI",
        (".gemini/settings.json",),
        (("home", ".gemini/settings.json"),),
        references=frozenset({"plain", "dollar", "percent"}),
        timeout_unit=0.001,
        aliases=("gemini-cli",),
    ),
    Tool(
        "antigravity",
        "Google Antigravity",
        global_files=(("home", ".gemini/antigravity/mcp_config.json"),),
    ),
)

NAMES = {name: tool for tool in TOOLS for name in (tool.name, *tool.aliases)}
