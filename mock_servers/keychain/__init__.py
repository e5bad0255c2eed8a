"""A keyring to test with: this folder goes on PYTHONPATH, and ``mock_keychain.Keyring`` into PYTHON_KEYRING_BACKEND."""
