"""Where bytes are kept that outlive a process: frames and the journal's segments. `medium` says what every medium is.

May block, so the server calls it on a thread of its own. Never imports asyncio, and never looks into what a frame holds.
"""
