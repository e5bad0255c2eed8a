"""The sign-in and its tokens."""
