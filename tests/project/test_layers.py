"""Every module imports only what its layer may, has its head, and has its tests at the same path below tests/unit."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import kvserver

PACKAGE = Path(kvserver.__file__).resolve().parent
TESTS = Path(__file__).resolve().parents[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


# Modules are parsed when a test needs them: each worker of a run collects all tests, and has but some of them to run.
@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(PATHS[name].read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def forgotten_trees() -> Iterator[None]:
    """The trees have so many objects that they would make the garbage collector slow for all tests behind these."""
    yield
    tree_of.cache_clear()


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
            modules = {name for name in names if name in PATHS}
            found |= modules
            if names != modules or node.module not in PATHS:
                found.add(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "__import__",
            "import_module",
        ):
            raise AssertionError("an import that can't be read off")
    return found


@cache
def imports_in(name: str) -> set[str]:
    return imports_of(tree_of(name))


def place_of(name: str) -> str:
    """The folder of a module, or its own name where it lies in none."""
    return name.partition(".")[2].partition(".")[0] or name


# Who may import whom: each imports from its own folder and from the layers before it, imports for type checkers included.
LAYERS = (
    {"_speedups"},
    {"compilation", "containers", "errors", "patterns", "supervisor", "version"},
    {"options", "resp"},
    {"acl", "data", "log"},
    {"formats", "state"},
    {"dispatch", "media", "system"},
    {"scripting", "types"},
    {"persistence"},
    {"failover"},
    {"commands"},
    {"engine", "library"},
    {"aio", "network"},
    {"following"},
    {"transfer"},
    {"control", "cron", "introduction", "reconfiguration", "storage"},
    {"parts"},
    {"server"},
    {"embedded"},
    {"kvserver"},
    {"cli", "pytest_plugin"},
    {"__main__"},
)
PURE = sorted(
    name
    for name in PATHS
    if name != "kvserver._speedups.choice"  # It reads the environment once.
    and place_of(name)
    in {"_speedups", "acl", "containers", "resp", "data", "formats", "state", "dispatch", "types", "commands"}
)
OPTIONS = sorted(name for name in PATHS if place_of(name) == "options" and name != "kvserver.options.file")

# All that a pure module may take from outside. An allowed one is one that has no effects and knows no time.
HARMLESS = {
    "__future__",
    "abc",
    "array",
    "base64",
    "binascii",
    "bisect",
    "codecs",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hiredis",
    "hmac",
    "inspect",
    "io",  # BytesIO: nothing is opened
    "contextlib",
    "datetime",  # it reads and shows times, and tells none
    "itertools",
    "json",
    "math",
    "operator",
    "types",  # names of kinds of objects
    "orjson",
    "re",
    "struct",
    "typing",
    "unicodedata",
    "zlib",
}
# `options` read TOML text and write the help; whoever calls them reads the files.
HARMLESS_FOR_CONFIG = HARMLESS | {"difflib", "textwrap", "tomllib"}
DEPENDENCIES = {"hiredis", "orjson", "uvloop"}
# Those of an extra, which only the modules named here import, when they are first needed.
OPTIONAL = {
    "kvserver.scripting.interpreter": {"lupa"},
    "kvserver.engine.carrier": {"greenlet"},
    "kvserver.cli.completion": {"shtab"},
    "kvserver.network.http": {"h11"},
    "kvserver.network.metrics": {"prometheus_client"},
    "kvserver.media.nats_client": {"nats"},
    "kvserver.media.nats_library": {"nats"},
    "kvserver.media.nats_calls": {"nats"},
    "kvserver.media.nats_feed": {"nats"},
    "kvserver.media.nats_log": {"nats"},
    "kvserver.media.nats_watch": {"nats"},
    "kvserver.media.s3_bucket": {"obstore"},
    # pytest itself loads this; clients are imported when a fixture is one.
    "kvserver.pytest_plugin": {"pytest", "redis"},
    # For type checkers alone.
    "kvserver.compilation": {"mypy_extensions"},
}


# The engines that several nodes share: what talks to them may have a thread, and an event loop in it.
ENGINES = {
    f"kvserver.media.{name}"
    for name in (
        *("folder_engine", "folder_log", "frame_bytes", "memory_engine"),
        *("nats", "nats_calls", "nats_client", "nats_feed", "nats_library", "nats_log", "nats_watch"),
        *("s3", "s3_log", "s3_probe"),
    )
}


def ours(name: str) -> set[str]:
    return {found for found in imports_in(name) if found.partition(".")[0] == "kvserver"}


def others(name: str) -> set[str]:
    return {found.partition(".")[0] for found in imports_in(name)} - {"kvserver"}


def test_every_folder_stands_in_exactly_one_layer() -> None:
    assert sorted(place for layer in LAYERS for place in layer) == sorted({place_of(name) for name in PATHS})


@pytest.mark.parametrize("name", sorted(PATHS))
def test_module_imports_from_its_own_folder_and_from_the_layers_before_it(name: str) -> None:
    level = next(index for index, layer in enumerate(LAYERS) if place_of(name) in layer)
    before: set[str] = set().union(*LAYERS[:level])
    assert {place_of(found) for found in ours(name)} <= {place_of(name)} | before


@pytest.mark.parametrize("name", OPTIONS)
def test_options_read_text_and_no_file(name: str) -> None:
    assert others(name) <= HARMLESS_FOR_CONFIG


@pytest.mark.parametrize("name", PURE)
def test_pure_module_touches_nothing_but_its_arguments(name: str) -> None:
    assert others(name) <= HARMLESS | {"sys"}
    of_sys = {
        node.attr
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys"
    }
    assert of_sys <= {"get_int_max_str_digits", "maxsize"}
    calls = {
        node.func.id for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "breakpoint"}


def between_folders(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The folders that each folder imports from, by the imports of its modules."""
    found: dict[str, set[str]] = {}
    for name, imported in imports.items():
        found.setdefault(place_of(name), set()).update(map(place_of, imported))
    return {place: others - {place} for place, others in found.items()}


def test_tour_of_the_readme_tells_the_order() -> None:
    readme = TESTS.parent.joinpath("README.md").read_text(encoding="utf-8")
    tour = readme.partition("```text\nkvserver/\n")[2].partition("```")[0]
    # On the upper level each line begins with two spaces; `__init__.py` is the package itself.
    places = [word.rstrip("/").removesuffix(".py") for word in re.findall(r"^  (\S+)", tour, re.MULTILINE)]
    places = ["kvserver" if place == "__init__" else place for place in places]
    assert sorted(places) == sorted({place_of(name) for name in PATHS})
    for place, imported in between_folders(all_of_ours()).items():
        below = places[places.index(place) + 1 :]
        assert imported <= set(below), f"{place} imports from what stands above it in the tour"


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
@cache
def all_of_ours() -> dict[str, set[str]]:
    return {name: ours(name) & PATHS.keys() for name in PATHS}


def test_imports_of_modules_form_no_circle() -> None:
    assert not circle_in(all_of_ours())


def test_imports_of_folders_form_no_circle() -> None:
    assert not circle_in(between_folders(all_of_ours()))


def test_circle_of_folders_would_be_found_where_there_is_none_of_modules() -> None:
    text = "if TYPE_CHECKING:\n    from kvserver.state.session import Session"
    imports = {"kvserver.data.entries": imports_of(ast.parse(text)), "kvserver.state.watches": {"kvserver.data.keyspace"}}
    assert not circle_in(imports)
    assert circle_in(between_folders(imports)) == ["data", "state", "data"]
    imports["kvserver.state.session"] = {"kvserver.data.entries"}
    assert circle_in(imports) == ["kvserver.data.entries", "kvserver.state.session", "kvserver.data.entries"]


def reached_from(names: set[str]) -> set[str]:
    """These modules, and all that they import, and what those import in turn."""
    of_ours = all_of_ours()
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += of_ours[name]
    return reached


def test_whoever_uses_the_library_needs_no_event_loop() -> None:
    local = {name for name in PATHS if place_of(name) == "media"} - ENGINES
    for name in sorted(reached_from({"kvserver.library"}) | local):
        assert not others(name) & {"asyncio", "uvloop", "selectors"}, name
        assert place_of(name) == "library" or "threading" not in others(name), name


@pytest.mark.parametrize("name", sorted(name for name in PATHS if name.startswith("kvserver.media")))
def test_media_know_no_sockets_and_no_store(name: str) -> None:
    assert "socket" not in others(name)
    assert all(found.startswith(("kvserver.media", "kvserver.errors", "kvserver.formats")) for found in ours(name))


@pytest.mark.parametrize("name", sorted(name for name in PATHS if place_of(name) == "persistence"))
def test_persistence_knows_media_by_their_contracts_alone(name: str) -> None:
    assert {found for found in ours(name) if found.startswith("kvserver.media")} <= {
        "kvserver.media.archive",
        "kvserver.media.medium",
        "kvserver.media.shared",
    }


def test_threads_are_started_in_three_places() -> None:
    starting = {"threading", "_thread", "concurrent", "concurrent.futures", "multiprocessing", "queue"}
    # Of these, `onloop` takes the exception of a future alone, and the others have the locks of a store.
    locking = {f"kvserver.library.{name}" for name in ("kept", "memoized", "once", "own_cache")}
    starters = {"kvserver.embedded", "kvserver.library.journal", "kvserver.persistence.disk"}
    found = {name for name in PATHS if imports_in(name) & starting}
    assert found - ENGINES == starters | locking | {"kvserver.control.onloop"}
    calling = {
        name
        for name in PATHS
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Attribute) and node.attr in ("run_in_executor", "to_thread", "set_default_executor")
    }
    assert not calling


@pytest.mark.parametrize("name", sorted(PATHS))
def test_pickle_and_its_kin_are_nowhere(name: str) -> None:
    assert not others(name) & {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "copyreg", "dbm", "ctypes"}


@pytest.mark.parametrize("name", sorted(PATHS))
def test_nothing_is_imported_that_a_user_would_have_to_install_besides(name: str) -> None:
    assert others(name) <= set(sys.stdlib_module_names) | DEPENDENCIES | OPTIONAL.get(name, set())


def test_start_of_a_server_imports_nothing_that_only_some_servers_come_to_need() -> None:
    later = {
        *("argparse", "gettext", "pydoc", "glob"),
        *("tomllib", "difflib", "encodings.idna", "greenlet", "lupa", "h11", "prometheus_client", "obstore"),
        *(
            "kvserver.cli.subcommands",
            "kvserver.cli.topics",
            "kvserver.cli.command_list",
            "kvserver.options.inert",
            "kvserver.options.overview",
            "kvserver.options.redis_conf",
            "kvserver.options.suggestions",
            "kvserver.options.toml",
            "kvserver.cli.check",
            "kvserver.embedded",
            "kvserver.following.follower",
            "kvserver.library",
            "kvserver.library.folder",
            "kvserver.media.nats",
            "nats",
            "kvserver.cli.replay",
            "kvserver.library.store",
            "kvserver.options.rewriting",
            "kvserver.engine.carrier",
            "kvserver.scripting.interpreter",
            "kvserver.types.longdouble",
        ),
    }
    asked = f"import sys, kvserver.cli.main; print(*sys.modules.keys() & {later})"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert not found


# --- Heads and tests ---


@pytest.mark.parametrize("name", sorted(PATHS))
def test_every_module_begins_with_what_it_is_for(name: str) -> None:
    head = ast.get_docstring(tree_of(name))
    assert head, "no docstring"
    assert len(head.splitlines()[0]) > 15
    assert head.splitlines()[0][0] != " "


MODULES = sorted(name for name in PATHS if "__" not in name and not PACKAGE.joinpath(*name.split(".")[1:]).is_dir())


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_its_tests_at_the_same_path(name: str) -> None:
    *folders, module = name.split(".")[1:]
    path = TESTS.joinpath("unit", *folders, f"test_{module}.py")
    assert path.exists(), f"{name} has no {path.relative_to(TESTS)}"
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert any(node.name.startswith("test_") for node in functions)
    imported = imported_by(path)
    assert name in imported or "helpers.servers" in imported, f"it neither imports {name} nor starts a server"


@cache
def imports_of_test(path: Path) -> set[str]:
    """What a file of tests or a helper imports."""
    return imports_of(ast.parse(path.read_text(encoding="utf-8")))


def imported_by(test: Path) -> set[str]:
    """The modules that a test imports, itself or by its helpers; two that gather others stand for what they gather."""
    names: set[str] = set()
    waiting = set(imports_of_test(test))
    while waiting:
        name = waiting.pop()
        names.add(name)
        helper = TESTS.joinpath(*name.split(".")).with_suffix(".py")
        if name.startswith("helpers.") and helper.exists():
            waiting |= imports_of_test(helper) - names
    for gathering, gathered in (
        ("kvserver", "kvserver.library"),
        ("kvserver.commands.catalogue", "kvserver.commands.catalogue"),
    ):
        names |= all_of_ours()[gathered] if gathering in names else set()
    return names


def test_tests_import_no_tests() -> None:
    for path in sorted(TESTS.rglob("test_*.py")):
        names = imports_of_test(path)
        assert not {name for name in names if ".test_" in f".{name}"}, path.relative_to(TESTS)
