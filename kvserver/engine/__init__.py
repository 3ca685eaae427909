"""The event loop's side: the only place that runs the commands of clients, and carries out what their results ask for."""
