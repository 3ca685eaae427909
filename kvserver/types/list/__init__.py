"""Lists: elements in order, pushed and popped at both ends."""
