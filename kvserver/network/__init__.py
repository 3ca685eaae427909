"""Who may talk to the server, and how: listeners, TLS, the clients that are connected, and each one's connection."""
