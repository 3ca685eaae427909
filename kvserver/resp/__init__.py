"""The wire: `request` turns bytes into requests, `reply` turns replies into bytes. Sans-IO, both.

The format is that of https://redis.io/docs/latest/develop/reference/protocol-spec/; limits and error texts are those of
redis-server 7.0.15.
"""
