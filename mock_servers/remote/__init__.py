"""The mocks behind a URL: Streamable HTTP of both eras, HTTP+SSE of 2024-11-05, and a collector.

What a message is answered with comes from the same script, rules and answers as for the stdio mock; here is
only what HTTP adds. Starlette and uvicorn carry it (extra `mocks`).

Journal events of these mocks, beside those of the stdio one: `tls-hello` (a TLS handshake was begun),
`connection` and `disconnect` (with `connection`, a number), `http-request` (number `n`, `connection`,
`method`, `target`, `headers` as a list of pairs exactly as sent, the body as `text` or `base64`),
`http-response` (`n`, `status`, `headers`), `http-body` (`n`: bytes that are no message), `http-end` (`n`,
`by`: "server", "client", "cut"), and `sent` with `n`, the request on whose response the message went out.
"""
