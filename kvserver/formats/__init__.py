"""The bytes that outlive a process: frames and their payloads, journal records, Redis's DUMP format. Pure, both ways."""
