"""The same store for an asyncio program: calls are coroutines, and none of them makes the program's loop wait for the disk."""
