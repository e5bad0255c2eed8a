"""A proxy that serves clients over Streamable HTTP (``dynamic-mcp serve``), and the end of it on stdio (``dynamic-mcp connect``).

``door`` listens, and ``connections`` ends what keeps others out. ``app`` takes the requests: ``gate`` decides who may come in, ``posted``
reads messages, ``legacy_era`` and ``modern_era`` answer them. ``stream`` keeps what goes out.
"""

#: The paths of the endpoint for MCP, and of the report for ``dynamic-mcp status``.
ENDPOINT = "/mcp"
STATUS = "/status"
