"""Following a redis-server: its data is taken over by its replication protocol, and kept up to date. It is only read."""
