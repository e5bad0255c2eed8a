"""The extras, which the core works without: audit log, call policy, hardening, traces, keyring, early answers, tuning, sharing, serving."""
