"""What a command is, and the way to its handler. Pure; names no command and no data type."""
