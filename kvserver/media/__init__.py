"""The places where frames and records are kept. `medium` has the contracts; each other module is one kind, or part of one.

May block, so the server calls it on a thread of its own. Never imports asyncio, and never looks into what a frame holds.
"""
