"""How the data gets to the disk and back beside a busy server: snapshots, the journal, and what a start recovers from both."""
