"""The fixtures of an authorization, which can store its tokens in the keyring."""

from tests.dynamic_mcp.oauth.conftest import directory, http, make, requested, routes, store

__all__ = ["directory", "http", "make", "requested", "routes", "store"]
