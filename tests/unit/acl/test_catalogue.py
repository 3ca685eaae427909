"""The bits of commands become rules again, and the rules make the same bits. (wire/test_acl_rules asks redis-server.)"""

from __future__ import annotations

import random

from kvserver.acl.catalogue import EVERYTHING, NOTHING, Catalogue
from kvserver.acl.selector import Selector

COMMANDS = {
    "config": ["@slow"],
    "config|get": ["@admin", "@slow"],
    "config|help": ["@slow"],
    "get": ["@read", "@fast"],
    "mget": ["@read", "@fast"],
    "set": ["@write", "@slow"],
}
CATALOGUE = Catalogue(COMMANDS, ["@read", "@write", "@admin", "@fast", "@slow"])


def mask_of(*names: str) -> int:
    return sum(CATALOGUE.bits[name] for name in names)


def test_container_has_the_bits_of_its_subcommands() -> None:
    assert CATALOGUE.wholes["config"] == mask_of("config", "config|get", "config|help")
    assert CATALOGUE.wholes["config|get"] == CATALOGUE.bits["config|get"]
    assert [CATALOGUE.is_container(name) for name in ("config", "get")] == [True, False]


def test_category_has_whole_commands_in_rules() -> None:
    catalogue = Catalogue({"a": ["@slow"], "a|x": ["@fast"]}, ["@slow", "@fast"])
    assert catalogue.categories["slow"] == 1
    assert catalogue.wholes_of["slow"] == 3
    assert catalogue.names(3) == {"a", "a|x"}


def test_everything_and_nothing_are_told_by_one_rule() -> None:
    assert CATALOGUE.describe(EVERYTHING, {}) == b"+@all"
    assert CATALOGUE.describe(NOTHING, {}) == b"-@all"
    every = mask_of(*COMMANDS)
    assert CATALOGUE.describe(every, {}).startswith(b"-@all +@"), "commands that there will be are not among them"


def test_categories_come_before_single_commands() -> None:
    assert CATALOGUE.describe(mask_of("get", "mget"), {}) == b"-@all +@read"
    assert CATALOGUE.describe(EVERYTHING & ~mask_of("get", "mget", "config|get"), {}) == b"+@all -@read -@admin"
    assert CATALOGUE.describe(mask_of("get"), {"set": (b"k",)}) == b"-@all +get +set|k"


def test_rules_make_the_mask_that_they_tell() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(300):
        mask = rng.getrandbits(len(COMMANDS)) * rng.choice((0, 1)) | rng.getrandbits(len(COMMANDS))
        if rng.random() < 0.5:
            mask = ~mask
        selector = Selector()
        for rule in CATALOGUE.describe(mask, {}).split():
            selector.apply(rule, lambda: CATALOGUE)
        assert selector.commands == mask
