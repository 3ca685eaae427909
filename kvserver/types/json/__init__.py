"""JSON documents: a type of its own, whose value is held as its canonical text."""
