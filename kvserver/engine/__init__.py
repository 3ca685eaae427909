"""The event loop's side: the only place that runs commands, and what their results lead to."""
