"""The command line: the server, and the tools that work on its files offline."""
