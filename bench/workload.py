"""The commands that clients send in a load: one command or a mix, over random keys of a data set.

Owns the batches, which are encoded before the load and sent in a circle. Must never repeat a key in an order that a cache
could learn: the same seed gives every server the same random ones.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.load import Batch
from bench.request import encode_request

MSET_KEYS = 10
MIXED = {"GET": 9, "SET": 1}
WITHOUT_VALUES = ("PING", "INCR")
# The circle is bounded in requests and in memory.
POOL_REQUESTS = 50_000
QUICK_REQUESTS = 5_000
POOL_BYTES = 32 << 20
SEED = 20_240


@dataclass(frozen=True)
class Workload:
    """The commands of a load: each command's weight in the mix, and the number in a pipeline."""

    name: str
    mix: dict[str, int]
    dataset: Dataset
    pipeline: int = 1

    @classmethod
    def named(cls, name: str, dataset: Dataset, pipeline: int = 1) -> "Workload":
        """The workload of one command, or `mixed`: nine GETs to a SET, in each pipeline."""
        return cls(name, MIXED if name == "mixed" else {name: 1}, dataset, pipeline)

    @property
    def title(self) -> str:
        values = "" if self.name in WITHOUT_VALUES else f" {self.dataset.value_bytes} B"
        return f"{self.name}{values}, pipeline {self.pipeline}"

    @property
    def tags(self) -> dict[str, str | int]:
        return {"command": self.name, "value_bytes": self.dataset.value_bytes, "pipeline": self.pipeline}

    def batches(self, requests: int = POOL_REQUESTS) -> list[Batch]:
        """Make as many different batches as the bounds of the circle allow: so many requests, if they are not too long."""
        choice = random.Random(SEED)
        dataset = self.dataset

        def index() -> int:
            return choice.randrange(dataset.keys)

        encoders: dict[str, Callable[[], bytes]] = {
            "PING": lambda: encode_request(b"PING"),
            "GET": lambda: dataset.get_request(index()),
            "SET": lambda: dataset.set_request(index(), version=1),
            "INCR": lambda: dataset.incr_request(index()),
            "MSET": lambda: dataset.mset_request([index() for _ in range(MSET_KEYS)]),
        }
        names, weights = list(self.mix), list(self.mix.values())
        widest = max(len(encoders[name]()) for name in names)
        count = max(1, min(requests, POOL_BYTES // widest) // self.pipeline)
        batches = []
        for _ in range(count):
            chosen = choice.choices(names, weights, k=self.pipeline)
            name = chosen[0] if self.pipeline == 1 else self.name
            batches.append(Batch(name, b"".join(encoders[one]() for one in chosen), self.pipeline))
        return batches
