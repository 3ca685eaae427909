"""What every command does: one module per family, each command declared over the function that runs it.

Pure: a handler is a plain function of a session and the command's arguments that returns a reply of explicit kind, or an
effect that the server is to carry out. It never sees a socket, a file, a clock or the event loop.
"""
