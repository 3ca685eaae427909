"""The state beside the data: clients, figures, slow commands, subscriptions, watched keys. Pure: other folders act on it."""
