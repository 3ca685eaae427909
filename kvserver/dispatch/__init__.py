"""The command as the server knows it, and the way of a call to its handler. Pure; names no command.

command     all that is known of one command, declared over its handler
notation    the words of a call in short: from these follow arity, keys, COMMAND DOCS and the parsing of options
arguments   numbers and times in a call, as Redis reads them
table       names to handlers; a session for which nothing stands in the way takes its handlers from there
gate        the way of all other calls: refusals, pauses, the queue of MULTI, monitors, CLIENT REPLY
timing      handlers whose time is taken
effect      what a handler returns where a reply alone is not enough; the engine carries it out
"""
