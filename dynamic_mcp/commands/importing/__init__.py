"""``dynamic-mcp import``: from the configuration of an AI tool to one of this proxy.

::

    tools           the known tools: their files, formats and references
    read            a file as plain values, or an error with the location
    sources         the files of a tool that count, merged as the tool merges them
    references      ``${env:NAME}`` and the like, as ``${NAME}``
    entries         one server of a tool as a server of the proxy, with notes about the differences
    tool_lists      the tools of a server that its entry switches on or off
    file_switches   the servers and tools that the file switches off elsewhere
    command         the dialog with the user, and the written file
    client_snippet  the entry that makes the tool start the proxy

Everything that is lost has a note. The command writes only to the output.
"""
