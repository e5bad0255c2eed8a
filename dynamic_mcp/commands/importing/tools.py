"""The AI tools from which the command can import servers: the locations and the formats of their files.

Locations and field names come from the documentation of the tools in November 2026. The name ``cursor`` also works for other tools
with the common format (``mcpServers`` with ``command`` or ``url``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Locations:
    """The folders and the environment that the locations of files depend on."""

    project: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    platform: str = sys.platform

    @property
    def repository(self) -> list[Path]:
        """The folders from the root of the repository to the project; only the project outside of a repository."""
        folders = [self.project, *self.project.parents]
        depth = next((depth for depth, folder in enumerate(folders) if (folder / ".git").exists()), 0)
        return folders[depth::-1]

    @property
    def applications(self) -> Path:
        """The folder of application settings."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return Path(self.environment.get("APPDATA") or self.home / "AppData" / "Roaming")
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")

    @property
    def dot_config(self) -> Path:
        """The folder of settings of programs that follow XDG on every platform."""
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")


@dataclass(frozen=True)
class Tool:
    """One AI tool."""

    name: str
    title: str
    #: files of a project, relative to it
    project_files: tuple[str, ...] = ()
    #: files of the user: a property of ``Locations`` and the path below it
    global_files: tuple[tuple[Literal["home", "applications", "dot_config"], str], ...] = ()
    #: whether the tool merges all existing files, also those of the folders of a repository around the project. A later file has
    #: precedence. Without this, the first existing one counts.
    merges: bool = False
    #: an environment variable that names the folder of the last part of a global file
    folder_variable: str | None = None
    #: the path of the member with the servers
    keys: tuple[str, ...] = ("mcpServers",)
    #: the kinds of references: "dollar-env" ``${env:X}``, "braces-env" ``{env:X}``, "dollar" ``$X``, "shell" ``${X}`` with
    #: ``${X:-default}``, "percent" ``%X%``. Also "workspace" ``${workspaceFolder}`` and its kind, "input" ``${input:X}``,
    #: "file" ``{file:X}``
    references: frozenset[str] = frozenset()
    #: the unit of an entry's ``timeout`` in seconds; None if it does not apply to calls
    timeout_unit: float | None = 1.0
    aliases: tuple[str, ...] = ()

    def files(self, locations: Locations, *, is_global: bool) -> list[Path]:
        """The files that may contain the servers; empty if the tool has no such file."""
        if not is_global:
            folders = locations.repository if self.merges else [locations.project]
            return [folder / file for folder in folders for file in self.project_files]
        named = self.folder_variable and locations.environment.get(self.folder_variable)
        if named:
            return [Path(named) / Path(file).name for _, file in self.global_files]
        return [getattr(locations, base) / file for base, file in self.global_files]


_EDITOR = frozenset({"dollar-env", "workspace"})
_EXTENSIONS = "Code/User/globalStorage"

KNOWN_TOOLS = (
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
        (
            *(
                ("dot_config", f"opencode/{name}")
                for name in ("config.json", "opencode.json", "opencode.jsonc")
            ),
            *(("home", f".opencode/{name}") for name in ("opencode.json", "opencode.jsonc")),
        ),
        merges=True,
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
        merges=True,
        folder_variable="CODEX_HOME",
        keys=("mcp_servers",),
        aliases=("codex-cli",),
    ),
    Tool(
        "gemini",
        "Gemini CLI",
        (".gemini/settings.json",),
        (("home", ".gemini/settings.json"),),
        references=frozenset({"shell", "dollar", "percent"}),
        timeout_unit=0.001,
        aliases=("gemini-cli",),
    ),
    Tool(
        "antigravity",
        "Google Antigravity",
        global_files=(("home", ".gemini/antigravity/mcp_config.json"),),
    ),
)

TOOLS_BY_NAME = {name: tool for tool in KNOWN_TOOLS for name in (tool.name, *tool.aliases)}
