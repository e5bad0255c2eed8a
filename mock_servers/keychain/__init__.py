"""A keyring for tests: put this folder on PYTHONPATH, and `mock_keychain.Keyring` into PYTHON_KEYRING_BACKEND."""
