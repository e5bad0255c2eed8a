"""The fixtures of an authorization: the keyring is one of the places that it keeps tokens in."""

from tests.dynamic_mcp.oauth.conftest import asked, directory, http, make, routes, store

__all__ = ["asked", "directory", "http", "make", "routes", "store"]
