"""The config schema: an experiment as a whole, its digest, and how two of them differ."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field

from resexp._version import __version__
from resexp.config.imports import identity, is_import_path
from resexp.config.sections import DataSection, ModelSection, OptimSection, RecordSection, RunSection
from resexp.config.words import Section
from resexp.config.yaml_nodes import dump

AS_EVER: dict[str, Any] = {
    "data.pad": "before",
    "data.test": "test",
    "data.test_split": 0.0,
    "data.cutout": 0,
    "model.block": "basic",
    "model.survival": 1.0,
    "optim.name": "sgd",
    "optim.clip": 0.0,
    "optim.label_smoothing": 0.0,
    "run.kernels": "auto",
    "record.pictures": True,
    "record.checkpoint_minutes": 10.0,
}
"""Keys younger than the first recorded runs, each with the value that does what was done without the key: a
digest leaves them out there, so that what was trained before keeps its name. What `auto` came to is in the
manifest, and runs that differ there are never taken for one another."""
PLUGIN_KEYS = ("data.name", "model.activation", "model.init", "optim.name", "record.probes")
"""Keys that take import paths; a digest has the source of what they name."""


class Config(Section):
    """One experiment: everything that decides its result."""

    name: Annotated[str, Field(pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=100)] = "run"
    """the run's folder under --runs-dir; not part of the digest"""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """every stream of chance is derived from it by name"""
    data: DataSection = DataSection()
    """which images"""
    model: ModelSection = ModelSection()
    """which net"""
    optim: OptimSection = OptimSection()
    """how it learns"""
    run: RunSection = RunSection()
    """on what it runs"""
    record: RecordSection = RecordSection()
    """what is written down"""

    def tree(self) -> dict[str, Any]:
        """Return the config as JSON's types."""
        return self.model_dump(mode="json")

    def plugins(self) -> list[tuple[str, str]]:
        """Return (key, import path) of everything in the config that is the user's own."""
        tree = flat(self.tree())
        words = {key: tree[key] if isinstance(tree[key], list) else [tree[key]] for key in PLUGIN_KEYS}
        return [(key, word) for key in words for word in words[key] if is_import_path(word)]

    def digest(self) -> str:
        """Return 64 hex digits that name the experiment: SHA-256 over every key but `name`.

        A key of AS_EVER counts only where it changes what was ever done. Of an import path count its NAME and
        its source, wherever that lies. Raises UsageError where it is not to be had.
        """
        tree = {key: value for key, value in self.tree().items() if key != "name"}
        change_words(tree, identity)
        for key, value in AS_EVER.items():
            section, leaf = key.split(".")
            if tree[section][leaf] == value:
                del tree[section][leaf]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def write(config: Config) -> str:
    """Return the config, every key of it, as YAML that reads back equal."""
    return dump(config.tree())


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema by which an editor checks and completes a config; not to be changed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:resexp:config:{__version__}",
        **Config.model_json_schema(),
    }


def differing_keys(a: Config, b: Config) -> list[tuple[str, Any, Any]]:
    """Return (key, a's value, b's value) where two experiments differ; None for a key only the other has."""
    trees = [flat(config.tree()) for config in (a, b)]
    keys = dict.fromkeys([*trees[0], *trees[1]])
    pairs = [(key, trees[0].get(key), trees[1].get(key)) for key in keys if key != "name"]
    return [pair for pair in pairs if pair[1] != pair[2]]


def change_words(tree: dict[str, Any], change: Callable[[str], str]) -> None:
    """Change the words of PLUGIN_KEYS in a config's tree, in place."""
    for key in PLUGIN_KEYS:
        section, leaf = key.split(".")
        words = tree[section][leaf]
        tree[section][leaf] = [change(word) for word in words] if isinstance(words, list) else change(words)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tree of settings as one level: {"model.depth": 56, ...}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
