"""Where frames are kept. `medium` says what every medium is; each other module is one kind of it.

May block, so the server calls it through an executor alone. Never imports asyncio, and knows of frames only how long
their headers are.
"""
