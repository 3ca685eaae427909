"""The places where frames and records are kept. `medium` has the contracts; each other module is one kind, or part of one.

Calls may block, so the server makes them on a thread of its own. Nothing here imports asyncio, or looks into a payload.
"""
