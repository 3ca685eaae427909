"""The layers of DESIGN section 4, read off the imports; and that every module has its head and its tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import kvserver

PACKAGE = Path(kvserver.__file__).resolve().parent
TESTS = Path(__file__).resolve().parents[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(tree: ast.Module) -> set[str]:
    """Every module that is imported anywhere in a module, inside functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert node.module
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in names if name in TREES}
            found |= modules
            if names != modules or node.module not in TREES:
                found.add(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "__import__",
            "import_module",
        ):
            raise AssertionError("an import that can't be read off")
    return found


IMPORTS = {name: imports_of(tree) for name, tree in TREES.items()}


def within(*packages: str) -> set[str]:
    return {name for name in TREES if name.removeprefix("kvserver.").partition(".")[0] in packages}


# By DESIGN section 4. A module that stands in no layer fails the test below: put it where it belongs.
BOTTOM = {"kvserver.errors", "kvserver.patterns", *within("options")}
PURE = {"kvserver.persistence.group_commit", *within("commands", "data", "dispatch", "formats", "resp", "state")}
BLOCKING = {
    "kvserver",
    "kvserver.cli.check",
    "kvserver.library",
    "kvserver.library.folder",
    "kvserver.log",
    "kvserver.network.tls",
    "kvserver.library.operations",
    "kvserver.persistence.frames",
    "kvserver.persistence.workplace",
    "kvserver.persistence.recovery",
    "kvserver.system",
    "kvserver.cli.replay",
    "kvserver.library.store",
    "kvserver.supervisor",
    "kvserver.options.file",
    *within("media"),
}
ASYNCIO = {
    "kvserver.__main__",
    "kvserver.engine.jobs",
    "kvserver.cli.main",
    "kvserver.engine.results",
    "kvserver.server",
    "kvserver.engine.upkeep",
    "kvserver.engine.writer",
    *(within("network", "persistence") - PURE - BLOCKING),
}
LAYERS = (BOTTOM, PURE, BLOCKING, ASYNCIO)

# All that a pure module may take from outside. An allowed one is one that has no effects and knows no time.
HARMLESS = {
    "__future__",
    "abc",
    "base64",
    "binascii",
    "bisect",
    "codecs",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "hiredis",
    "hmac",
    "inspect",
    "io",  # BytesIO: nothing is opened
    "contextlib",
    "itertools",
    "json",
    "operator",
    "types",  # names of kinds of objects
    "orjson",
    "re",
    "typing",
}
# `options` read TOML text and write the help; whoever calls them reads the files.
HARMLESS_FOR_CONFIG = HARMLESS | {"difflib", "textwrap", "tomllib"}
DEPENDENCIES = {"hiredis", "orjson", "uvloop"}


def ours(name: str) -> set[str]:
    return {found for found in IMPORTS[name] if found.partition(".")[0] == "kvserver"}


def others(name: str) -> set[str]:
    return {found.partition(".")[0] for found in IMPORTS[name]} - {"kvserver"}


def test_every_module_stands_in_exactly_one_layer() -> None:
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(TREES)


@pytest.mark.parametrize("name", sorted(BOTTOM))
def test_bottom_imports_nothing_of_ours_but_what_else_is_there(name: str) -> None:
    assert ours(name) <= BOTTOM
    assert others(name) <= HARMLESS_FOR_CONFIG


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_module_touches_nothing_but_its_arguments(name: str) -> None:
    assert others(name) <= HARMLESS | {"sys"}
    of_sys = {
        node.attr
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys"
    }
    assert of_sys <= {"get_int_max_str_digits", "maxsize"}
    calls = {node.func.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"open", "print", "input", "exec", "eval", "breakpoint"}


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_module_imports_from_a_layer_above_its_own(name: str) -> None:
    level = next(index for index, layer in enumerate(LAYERS) if name in layer)
    above: set[str] = set().union(*LAYERS[level + 1 :])
    assert not ours(name) & above


def folder_of(name: str) -> str:
    """The folder of a module, by its name in the package; a module that lies in none stands for itself."""
    folder = ".".join(name.split(".")[:2])
    return folder if folder in TREES else name


def between_folders(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Which folders import from which others, by what their modules import."""
    found: dict[str, set[str]] = {}
    for name, imported in imports.items():
        found.setdefault(folder_of(name), set()).update(map(folder_of, imported))
    return {folder: others - {folder} for folder, others in found.items()}


def circle_in(imports: Mapping[str, set[str]]) -> list[str]:
    """Names of which each imports the next, and the last is the first; empty where there are none such."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in finished:
            for found in sorted(imports.get(name, ())):
                if circle := visit(found, [*path, name]):
                    return circle
            finished.add(name)
        return []

    return next((circle for name in imports if (circle := visit(name, []))), [])


# Imports in functions and for type checkers count as all others: who reads one file of a circle has to read them all.
OF_OURS = {name: ours(name) & TREES.keys() for name in TREES}


def test_imports_of_modules_form_no_circle() -> None:
    assert not circle_in(OF_OURS)


def test_imports_of_folders_form_no_circle() -> None:
    assert not circle_in(between_folders(OF_OURS))


def test_circle_of_folders_would_be_found_where_there_is_none_of_modules() -> None:
    text = "if TYPE_CHECKING:\n    from kvserver.state.session import Session"
    imports = {"kvserver.data.entries": imports_of(ast.parse(text)), "kvserver.state.watches": {"kvserver.data.keyspace"}}
    assert not circle_in(imports)
    assert circle_in(between_folders(imports)) == ["kvserver.data", "kvserver.state", "kvserver.data"]
    imports["kvserver.state.session"] = {"kvserver.data.entries"}
    assert circle_in(imports) == ["kvserver.data.entries", "kvserver.state.session", "kvserver.data.entries"]


@pytest.mark.parametrize("name", sorted(BOTTOM | PURE | BLOCKING))
def test_asyncio_is_for_the_uppermost_layer(name: str) -> None:
    assert not others(name) & {"asyncio", "uvloop", "selectors", "threading"}


@pytest.mark.parametrize("name", sorted(name for name in TREES if name.startswith("kvserver.media")))
def test_media_know_no_sockets_and_no_store(name: str) -> None:
    assert "socket" not in others(name)
    assert all(
        found.startswith(("kvserver.media", "kvserver.errors", "kvserver.formats.frame", "kvserver.formats.scan"))
        for found in ours(name)
    )


@pytest.mark.parametrize("name", sorted(within("persistence")))
def test_persistence_knows_media_by_their_contracts_alone(name: str) -> None:
    assert {found for found in ours(name) if found.startswith("kvserver.media")} <= {"kvserver.media.medium"}


def test_threads_are_started_in_one_place() -> None:
    starting = {"threading", "_thread", "concurrent", "concurrent.futures", "multiprocessing", "queue"}
    assert {name for name, found in IMPORTS.items() if found & starting} == {"kvserver.persistence.disk"}
    calling = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("run_in_executor", "to_thread", "set_default_executor")
    }
    assert not calling


@pytest.mark.parametrize("name", sorted(TREES))
def test_pickle_and_its_kin_are_nowhere(name: str) -> None:
    assert not others(name) & {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "copyreg", "dbm", "ctypes"}


@pytest.mark.parametrize("name", sorted(TREES))
def test_nothing_is_imported_that_a_user_would_have_to_install_besides(name: str) -> None:
    assert others(name) <= set(sys.stdlib_module_names) | DEPENDENCIES


def test_start_of_a_server_imports_nothing_that_only_some_servers_come_to_need() -> None:
    later = {
        *("tomllib", "difflib", "encodings.idna"),
        *(
            "kvserver.cli.check",
            "kvserver.library",
    "kvserver.library.folder",
            "kvserver.cli.replay",
            "kvserver.library.store",
            "kvserver.options.rewriting",
            "kvserver.types.string.longdouble",
        ),
        *("kvserver.dispatch.documentation", "kvserver.dispatch.syntax"),
    }
    asked = f"import sys, kvserver.server; print(*sys.modules.keys() & {later})"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert not found


# --- Heads and tests ---


@pytest.mark.parametrize("name", sorted(TREES))
def test_every_module_begins_with_what_it_is_for(name: str) -> None:
    head = ast.get_docstring(TREES[name])
    assert head, "no docstring"
    assert len(head.splitlines()[0]) > 15
    assert head.splitlines()[0][0] != " "


# Where a module's tests are not in test_<its name>.py.
TESTED_IN = {
    "kvserver": ["test_store"],
    "kvserver.__main__": ["test_restart"],
    "kvserver.engine.jobs": ["test_wire", "test_restart"],
    "kvserver.cli.main": ["test_restart", "test_replay_wire"],
    "kvserver.commands": ["test_commands_table"],
    "kvserver.dispatch.contexts": ["test_commands_lookups"],
    "kvserver.dispatch.runner": ["test_commands_lookups"],
    "kvserver.data": ["test_keyspace"],
    "kvserver.dispatch": ["test_notation"],
    "kvserver.data.freeze": ["test_keyspace"],
    "kvserver.data.entries": ["test_keyspace", "test_tags"],
    "kvserver.formats": ["test_frame", "test_scan"],
    "kvserver.formats.encoder": ["test_decoder"],
    "kvserver.formats.longdocument": ["test_long_values"],
    "kvserver.formats.longstring": ["test_long_values"],
    "kvserver.media": ["test_media"],
    "kvserver.media.file": ["test_media"],
    "kvserver.media.filesystem": ["test_media"],
    "kvserver.media.medium": ["test_media", "test_media_logs", "test_repair"],
    "kvserver.media.memory": ["test_media", "test_media_logs"],
    "kvserver.network": ["test_wire", "test_limits"],
    "kvserver.network.clients": ["test_limits"],
    "kvserver.network.connection": ["test_connection", "test_unread", "test_wire", "test_limits", "test_hostile"],
    "kvserver.network.listeners": ["test_limits", "test_tls"],
    "kvserver.options": ["test_config"],
    "kvserver.options.inert": ["test_config"],
    "kvserver.options.kinds": ["test_config"],
    "kvserver.options.table": ["test_config"],
    "kvserver.engine.results": ["test_conversations"],
    "kvserver.persistence": ["test_snapshot", "test_journal"],
    "kvserver.persistence.frames": ["test_snapshot", "test_faults"],
    "kvserver.persistence.workplace": ["test_snapshot"],
    "kvserver.persistence.schedule": ["test_flushes", "test_flushes_due", "test_wire", "test_simulation"],
    "kvserver.persistence.recovery": ["test_durability", "test_folder", "test_simulation"],
    "kvserver.persistence.slices": ["test_snapshot"],
    "kvserver.resp": ["test_request", "test_reply"],
    "kvserver.server": ["test_wire", "test_restart", "test_clients"],
    "kvserver.state": ["test_session"],
    "kvserver.state.description": ["test_rows"],
    "kvserver.state.statistics": ["test_commands_sections"],
    "kvserver.engine.upkeep": ["test_upkeep"],
    "kvserver.engine.writer": ["test_writer", "test_wire"],
}
# Seen from outside, through a socket, a ServerFolder or Snapshots: their tests import nothing of theirs.
BLACK_BOX = {
    "kvserver.__main__",
    "kvserver.persistence.frames",
    "kvserver.persistence.workplace",
    "kvserver.persistence.recovery",
    *ASYNCIO,
}


def homes_of(name: str) -> list[str]:
    """The tests of `commands` and `media` are named after the folder, too, since others have modules of the same names."""
    package, _, module = name.removeprefix("kvserver.").rpartition(".")
    return TESTED_IN.get(name, [f"test_{package}_{module}" if package in ("commands", "media") else f"test_{module}"])


@pytest.mark.parametrize("name", sorted(TREES))
def test_every_module_has_its_tests(name: str) -> None:
    for test in homes_of(name):
        path = TESTS / f"{test}.py"
        assert path.exists(), f"{name} has no {path.name}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") for node in tree.body
        )
        if name not in BLACK_BOX:
            assert name in reached_from(tree), f"{path.name} does not import it"


def reached_from(test: ast.Module) -> set[str]:
    """The modules that a test imports, itself or by its helpers; a package and the command table stand for what they hold."""
    names = imports_of(test)
    for helper in [TESTS / f"{found}.py" for found in names]:
        if helper.exists():
            names |= imports_of(ast.parse(helper.read_text(encoding="utf-8")))
        names |= ours(package) if package in names else set()
    return names | {found.rpartition(".")[0] for found in names}


def test_mapping_of_tests_names_no_module_that_is_gone() -> None:
    assert TESTED_IN.keys() <= TREES.keys()
    assert TREES.keys() >= BLACK_BOX
