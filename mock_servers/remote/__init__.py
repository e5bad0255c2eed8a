"""The mocks behind a URL: Streamable HTTP of both eras, HTTP+SSE of 2024-11-05, and a collector.

The script, the rules and the answers are the same as for the stdio mock; this package adds HTTP. It needs Starlette and
uvicorn (extra `mocks`).

Journal events of these mocks, in addition to those of the stdio mock:

- `listening`: the mock accepts connections, at these URLs.
- `tls-hello`: a client began a TLS handshake.
- `connection` and `disconnect`: with `connection`, the number of the connection.
- `http-request`: the number `n`, `connection`, `method`, `target`, `headers` as a list of pairs exactly as sent, and the
  body as `text` or `base64`.
- `http-response`: `n`, `status`, `headers`.
- `http-body`: bytes in the response to request `n` that are not a message.
- `http-end`: the response to `n` ended; `by` is "server", "client" or "cut".
- `sent`: also has `n`, the request whose response carried the message.
"""
