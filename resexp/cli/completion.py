"""Shell completion: configs, arms, run folders and comparisons by what is there, and data sets."""

from collections.abc import Iterator
from pathlib import Path

MOST_FOLDERS = 200
OTHER_IMAGES = ("crayons", "folder", "auto")


def config_names(incomplete: str) -> list[str]:
    """Return shipped configs and YAML files that begin like this."""
    from resexp.config.load import shipped

    names = [name for name, _ in shipped()]
    return [text for text in (*names, *_paths(incomplete, "*.yaml")) if text.startswith(incomplete)]


def data_names(incomplete: str) -> list[str]:
    """Return the words for images that begin like this."""
    return [word for word in (*published_names(incomplete), *OTHER_IMAGES) if word.startswith(incomplete)]


def published_names(incomplete: str) -> list[str]:
    """Return the data sets that can be fetched and begin like this."""
    from resexp.config.words import PUBLISHED

    return [word for word in PUBLISHED if word.startswith(incomplete)]


def run_folders(incomplete: str) -> list[str]:
    """Return folders of runs, comparisons, claims or gradients that begin like this, as typed."""
    found = []
    for manifest in Path("runs").glob("**/manifest.json"):
        found.append(str(manifest.parent))
        if len(found) == MOST_FOLDERS:
            break
    return sorted(text for text in found if text.startswith(incomplete))


def arm_names(incomplete: str) -> list[str]:
    """Return what may be an arm: the two words, a config, a run's folder."""
    words = [word for word in ("plain", "residual") if word.startswith(incomplete)]
    return [*words, *config_names(incomplete), *run_folders(incomplete)]


def _paths(incomplete: str, pattern: str) -> Iterator[str]:
    """Files of this kind, and folders, beside what was typed so far."""
    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    if folder.is_dir():
        yield from sorted(str(path) for path in folder.glob(pattern))
        yield from sorted(f"{path}/" for path in folder.iterdir() if path.is_dir())
