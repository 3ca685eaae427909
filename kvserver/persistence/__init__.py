"""The way of the data to the disk and back, beside a busy server: snapshots, the journal, and the recovery from both."""
