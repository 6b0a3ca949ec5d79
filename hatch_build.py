"""Puts the tutorials into the wheel: into the real one only, an editable one finds them itself."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Tutorials(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard" and self.target_name == "wheel":
            build_data["force_include"]["tutorials"] = "minigrad/tutorials/source"
