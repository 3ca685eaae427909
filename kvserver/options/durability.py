"""What may be lost of what was acknowledged, in words, as the options about the journal and the snapshots say."""

from __future__ import annotations

from kvserver.options.config import Config

_WITH_JOURNAL = {
    "always": "neither a kill nor a power cut loses anything acknowledged",
    "everysec": "a kill loses nothing, a power cut about a second",
    "no": "a kill loses nothing, a power cut what the system has not written yet",
}
_WAITING = "a failover loses what was acknowledged and had not come to the engine yet, up to 8 MB"
_WITH_ENGINE = {
    "always": "nothing acknowledged is lost that the engine keeps: neither by a kill, nor by a power cut or a failover",
    "everysec": _WAITING,
    "no": _WAITING,
}


def durability(config: Config) -> str:
    """What a kill, a power cut and a failover lose under these options, as one clause without a full stop."""
    if config.medium:
        return _WITH_ENGINE[config.appendfsync]
    if config.appendonly:
        return _WITH_JOURNAL[config.appendfsync]
    if config.save:
        return "a kill or a power cut loses what is newer than the last snapshot"
    return "a kill or a power cut loses everything since the last SAVE or SHUTDOWN"
