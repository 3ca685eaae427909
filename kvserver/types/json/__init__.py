"""JSON documents: a data type of their own, whose value is held as its canonical text."""
