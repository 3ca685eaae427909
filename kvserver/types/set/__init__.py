"""Sets: members, each of them once."""
