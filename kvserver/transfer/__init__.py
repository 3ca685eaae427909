"""Data on its way in and out: what other programs have written becomes data of ours, and ours what they can read."""
