"""The commands that belong to no data type: one module per family, each command declared over the function that runs it.

Pure: a handler is a plain function of a session and a request that returns a reply of explicit kind, or an effect that the
engine is to carry out. It raises CommandError for a reply that is an error, and changes data only by the keyspace's doors.
It must never see a socket, a file, a clock of its own or the event loop.
"""
