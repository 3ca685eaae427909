"""The network: listeners, the TLS context, the clients that are connected, and the connection of each client."""
