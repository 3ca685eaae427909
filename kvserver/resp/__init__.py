"""The wire: `request` turns bytes into commands, `reply` turns replies into bytes. Sans-IO, both.

Format: https://redis.io/docs/latest/develop/reference/protocol-spec/, limits and error texts as in redis-server 7.0.15.
"""
