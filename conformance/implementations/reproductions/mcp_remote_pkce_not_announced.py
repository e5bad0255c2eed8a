"""mcp-remote 0.15.1: it signs in although the authorization server does not say that it supports PKCE."""

from small_client import Program, command_of, eventually, report, without_browser
from small_oauth import RESOURCE, SERVER, Protected, metadata, resource

DOCUMENTS = {
    f"{RESOURCE}/mcp": resource(),
    SERVER: metadata(code_challenge_methods_supported=None),
}

with Protected(
    DOCUMENTS, 'Bearer resource_metadata="$origin/.well-known/oauth-protected-resource/mcp"'
) as server:
    with Program(
        [*command_of("mcp-remote"), server.url, "--static-oauth-client-info", '{"client_id": "me"}'],
        env=without_browser(),
    ) as proxy:
        proxy.begin_handshake()
        begins = eventually(lambda: "/authorize?" in proxy.stderr(), 30)
    report(begins and SERVER in server.asked, f"an authorization URL: {begins}; documents: {server.asked}")
