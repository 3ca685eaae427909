"""The keys and their values: what commands read and write, in memory. Pure: `keyspace` is the way in, the others serve it."""
