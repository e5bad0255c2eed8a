"""What a proxy can do without: audit log, call policy, traces, keyring, early answers, tuning. Only `server` knows them."""
