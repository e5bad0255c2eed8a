"""mcp-stdio 0.45.2: for an issuer with a path it leaves out one of the three places of the metadata."""

from small_client import Program, command_of, eventually, report, without_browser
from small_oauth import OPENID, RESOURCE, SERVER, Protected, metadata, resource

PLACES = [f"{SERVER}/tenant", f"{OPENID}/tenant", f"/tenant{OPENID}"]
DOCUMENTS = {
    f"{RESOURCE}/mcp": resource("$origin/tenant"),
    PLACES[-1]: metadata("$origin/tenant"),
}

with Protected(
    DOCUMENTS, 'Bearer resource_metadata="$origin/.well-known/oauth-protected-resource/mcp"'
) as server:
    with Program(
        [*command_of("mcp-stdio"), "--oauth", "--client-id", "me", server.url], env=without_browser()
    ) as proxy:
        proxy.begin_handshake()
        begins = eventually(lambda: "/authorize?" in proxy.stderr(), 30)
    asked = [place for place in PLACES if place in server.asked]
    report(begins and asked != PLACES, f"it asked for {asked}")
