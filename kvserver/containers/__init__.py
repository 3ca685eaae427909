"""The containers that large collections are made of: no step of theirs takes long, and a copy shares what stays. Pure."""
