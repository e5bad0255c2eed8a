"""The sign-in and its tokens, part by part."""
