"""One node writes, others follow its log and take over: over an engine that all of them share (`media.shared`)."""
