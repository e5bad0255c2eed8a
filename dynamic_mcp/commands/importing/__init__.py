"""``dynamic-mcp import``: from the configuration of an AI tool to one of this proxy.

::

    tools         which tools there are: where their files lie, how they are written, what they mean by a reference
    read          a file as plain values, or an error that names the place
    references    ``${env:NAME}`` and the like, as ``${NAME}``
    entries       one server of a tool as a server of ours, with a note for everything that is not the same
    command       the conversation with the user, and the written file

Nothing of the source is lost without a note, and the source is only ever read.
"""
