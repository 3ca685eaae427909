"""The optional part of the build: mypyc compiles the modules that pyproject.toml names, and the wheel has both forms.

It is a hook, which hatchling runs for wheels if HATCH_BUILD_HOOK_ENABLE_CUSTOM is set. It leaves nothing in the source folder:
who works there runs the sources, never a compiled form of older ones.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileHook(BuildHookInterface[BuilderConfig]):
    """The hook that adds the extension modules to a wheel, which is for this interpreter and platform then."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            self.app.display_warning("an editable install runs the sources: nothing is compiled")
            return
        # A plain build does without these packages.
        from mypyc.build import mypycify
        from setuptools import Distribution

        self._folder = Path(tempfile.mkdtemp())
        modules = [f"kvserver/{name}.py" for name in self.config["modules"]]
        extensions = mypycify(
            [f"--cache-dir={self._folder / 'cache'}", *modules],
            opt_level="3",
            debug_level="0",
            target_dir=str(self._folder / "c"),
            group_name="kvserver",
        )
        distribution = Distribution({"name": "kvserver", "ext_modules": extensions})
        built = self._folder / "lib"
        options = {"build_lib": built, "build_temp": self._folder / "objects"}
        distribution.get_option_dict("build_ext").update({name: ("", str(path)) for name, path in options.items()})
        distribution.run_command("build_ext")
        for path in built.rglob("*.so"):
            build_data["force_include"][str(path)] = str(path.relative_to(built))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            shutil.rmtree(self._folder)
