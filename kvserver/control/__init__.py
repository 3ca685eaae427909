"""What a program, or a test, may do to its server: from any thread, and never in the way of a command."""
