"""FastMCP 4.2.3: each request to a server behind a URL makes a new session (PrefectHQ/fastmcp issue 3466)."""

from small_client import Program, command_of, new_folder, report, text_of
from small_upstream import OneFileUpstream, write_config

with OneFileUpstream(sessions=True) as upstream:
    config = write_config(new_folder() / "config.json", {"one": {"url": upstream.url}})
    with Program([*command_of("fastmcp"), "run", config]) as proxy:
        proxy.handshake()
        texts = [text_of(proxy.call("echo", {"text": str(n)}, 30)) for n in range(4)]
    count = upstream.methods().count("initialize")
    report(texts == ["0", "1", "2", "3"] and count > 4, f"four calls made {count} handshakes")
