"""How the client of a check and the program exchange messages: by stdin and stdout, or over HTTP."""
