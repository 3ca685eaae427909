"""The part of the build that compiles: the leaves in C always, if that is possible, and by mypyc what pyproject.toml names.

It is a hook, which hatchling runs for wheels. The leaves are compiled by the C compiler alone, in some seconds. Where there
is none, or it fails, the package is the pure one: its leaves have twins in Python. An editable install has the leaves beside
their sources, for the interpreter that installs; who changes a source installs again, and a test tells who did not.

mypyc compiles if KVSERVER_BUILD is `mypyc`, which takes minutes: for the wheels of a release. It leaves nothing in the source
folder: who works there runs the sources, never a compiled form of older ones.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LEAVES = "kvserver/_speedups"
FLAGS = ["-O3", "-fPIC", "-fwrapv", "-fvisibility=hidden", "-DNDEBUG", "-Wall"]
COMPILE_DEADLINE_S = 120


class CompileHook(BuildHookInterface[BuilderConfig]):
    """The hook that adds the extension modules to a wheel, which is for this interpreter and platform then."""

    def dependencies(self) -> list[str]:
        """The packages that the build needs. mypy looks at the types of those that kvserver needs when it runs."""
        return ["mypy>=1.20", "setuptools>=68", *self.metadata.core.dependencies] if self._wants_mypyc else []

    @property
    def _wants_mypyc(self) -> bool:
        return os.environ.get("KVSERVER_BUILD") == "mypyc"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp())
        name = f"{LEAVES}/_compiled{sysconfig.get_config_var('EXT_SUFFIX')}"
        leaves = self._compile_leaves()
        if version == "editable":
            self._put_beside_sources(leaves, Path(self.root, name))
            if self._wants_mypyc:
                self.app.display_warning("an editable install runs the sources: mypyc compiles nothing")
            return
        if leaves:
            build_data["force_include"][str(leaves)] = name
        if self._wants_mypyc:
            built = self._run_mypyc()
            build_data["force_include"].update({str(path): str(path.relative_to(built)) for path in built.rglob("*.so")})
        if build_data["force_include"]:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self._folder)

    def _compile_leaves(self) -> Path | None:
        """Compile the leaves for the interpreter that runs this. None if that is not possible: a warning says why."""
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            self.app.display_warning("the leaves are not compiled, since they are for CPython with its lock")
            return None
        compiler = _find_compiler()
        if compiler is None:
            self.app.display_warning("the leaves are not compiled, since there is no C compiler")
            return None
        folder = Path(self.root, LEAVES)
        texts = sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h"))
        digests = {"SOURCES": _digest_of(texts), "TWINS": _digest_of(sorted(folder.glob("*.py")))}
        target = self._folder / "leaves.so"
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        includes = dict.fromkeys(f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude"))
        sources = [str(path) for path in texts if path.suffix == ".c"]
        defines = [f'-DKVSERVER_{name}="{digest}"' for name, digest in digests.items()]
        # On macOS these name the processors to compile for, which need not be the one that compiles.
        target_flags = _words_of("ARCHFLAGS") if sys.platform == "darwin" else []
        flags = [*FLAGS, *defines, *includes, *target_flags, *_words_of("CFLAGS")]
        try:
            done = subprocess.run(
                [*compiler, *flags, *shared, *sources, "-o", str(target)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMPILE_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.app.display_warning(f"the leaves are not compiled: {error}")
            return None
        if done.stderr:
            self.app.display_warning(done.stderr)
        if done.returncode:
            self.app.display_warning("the leaves are not compiled, since the C compiler failed")
            return None
        return target

    def _put_beside_sources(self, leaves: Path | None, place: Path) -> None:
        """Put the compiled leaves there, at once, since processes may run older ones; if there are none, remove older ones."""
        try:
            if leaves:
                # Two installations may do this at once.
                with tempfile.TemporaryDirectory(dir=place.parent, suffix=".so") as folder:
                    copied = shutil.copy(leaves, folder)
                    os.replace(copied, place)
            else:
                place.unlink(missing_ok=True)
        except OSError as error:
            self.app.display_warning(f"the leaves are not compiled, since the sources' folder takes none: {error}")

    def _run_mypyc(self) -> Path:
        """Compile the modules that are named. Returns the folder of what was built."""
        # A plain build does without these packages.
        from mypyc.build import mypycify
        from setuptools import Distribution
        from setuptools.command.build_ext import build_ext

        modules = [f"kvserver/{name}.py" for name in self.config["modules"]]
        extensions = mypycify(
            [f"--cache-dir={self._folder / 'cache'}", *modules],
            opt_level="3",
            debug_level="0",
            # A C compiler takes five times as long for all modules in one source.
            multi_file=True,
            target_dir=str(self._folder / "c"),
            group_name="kvserver",
        )
        for extension in extensions:
            # Calls from one module to another need not go by a table then.
            extension.extra_compile_args.append("-fvisibility=hidden")
        distribution = Distribution({"name": "kvserver", "ext_modules": extensions})
        distribution.cmdclass["build_ext"] = _at_once(build_ext)
        built = self._folder / "lib"
        options = {"build_lib": built, "build_temp": self._folder / "objects"}
        distribution.get_option_dict("build_ext").update({name: ("", str(path)) for name, path in options.items()})
        distribution.run_command("build_ext")
        return built


def _at_once(builder: Any) -> Any:
    """A kind of setuptools' `build_ext` that compiles as many sources of an extension at once as there are processors."""

    class AtOnce(builder):
        def build_extensions(self) -> None:
            one_by_one = self.compiler.compile
            with ThreadPoolExecutor(os.cpu_count()) as threads:

                def compile_all(sources: list[str], **options: Any) -> list[str]:
                    objects = threads.map(lambda source: one_by_one([source], **options), sources)
                    return [path for paths in objects for path in paths]

                self.compiler.compile = compile_all
                super().build_extensions()

    return AtOnce


def _find_compiler() -> list[str] | None:
    """The C compiler's command: the environment's CC, the one that has compiled this Python, or a usual one."""
    for words in (_words_of("CC"), shlex.split(sysconfig.get_config_var("CC") or ""), ["cc"], ["gcc"], ["clang"]):
        if words and shutil.which(words[0]):
            return words
    return None


def _words_of(variable: str) -> list[str]:
    """The words of a variable of the environment; none if they are quoted as no shell reads them."""
    try:
        return shlex.split(os.environ.get(variable, ""))
    except ValueError:
        return []


def _digest_of(files: list[Path]) -> str:
    """The SHA-256 (hex) of the texts of files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
