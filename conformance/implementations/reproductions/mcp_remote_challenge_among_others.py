"""mcp-remote 0.15.1: it signs in elsewhere when the Bearer challenge with resource_metadata follows one of another scheme."""

from small_client import Program, command_of, eventually, report, without_browser
from small_oauth import SERVER, Protected, metadata, resource

CHALLENGE = 'Basic realm="a", Bearer resource_metadata="$origin/custom.json"'
DOCUMENTS = {
    "/custom.json": resource("$origin/right"),
    f"{SERVER}/right": metadata("$origin/right", authorization_endpoint="$origin/named"),
    SERVER: metadata(authorization_endpoint="$origin/guessed"),
}

with Protected(DOCUMENTS, CHALLENGE) as server:
    command = [*command_of("mcp-remote"), server.url, "--static-oauth-client-info", '{"client_id": "me"}']
    with Program(command, env=without_browser()) as proxy:
        proxy.begin_handshake()
        eventually(lambda: "?response_type=code" in proxy.stderr(), 30)
        pages = [place for place in ("named", "guessed") if f"{server.origin}/{place}?" in proxy.stderr()]
    report(pages == ["guessed"], f"it opens the pages {pages}; documents: {server.asked}")
