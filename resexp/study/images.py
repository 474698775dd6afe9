"""The images of a comparison's runs: most of its configs have the same, which are loaded once."""

from functools import lru_cache

from resexp.config import DataSection
from resexp.data.splits import Splits, load


def splits_of(section: DataSection) -> Splits:
    """Return the images of a config's data section; loaded once in a process."""
    return _splits(section.model_dump_json())


def as_loaded(section: DataSection) -> DataSection:
    """Return the section with `auto` as it was resolved in this process, for another that loads the same."""
    return section.model_copy(update={"name": splits_of(section).name})


@lru_cache(maxsize=2)
def _splits(section: str) -> Splits:
    return load(DataSection.model_validate_json(section))
