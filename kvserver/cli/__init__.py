"""The command line: it starts the server, and has the tools that work on a server's files while no server runs."""
