"""The keys and their values in memory. Pure. Commands read and write through `keyspace`; the other modules serve it."""
