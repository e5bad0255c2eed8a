"""The fixtures of an authorization: the keyring is one of the places that it keeps tokens in."""

from tests.dynamic_mcp.oauth.conftest import directory, http, make, requested, routes, store

__all__ = ["directory", "http", "make", "requested", "routes", "store"]
