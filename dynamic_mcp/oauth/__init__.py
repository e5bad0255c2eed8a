"""Signing in to servers behind a URL: discovery, the browser, tokens, and their keeping."""
