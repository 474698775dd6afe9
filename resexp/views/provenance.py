"""Where a comparison comes from: data, configs, machine. All of it read from configs and manifests."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resexp.findings.cells import short
from resexp.views import page
from resexp.views.recorded import Entry, varied


def joined(values: Iterable[Any], nothing: str = "not recorded") -> str:
    """Return the different values in order, as an enumeration."""
    texts = [str(value) for value in dict.fromkeys(values)]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]])) or nothing


def lead(entries: Sequence[Entry]) -> str:
    """Return what was done, in one sentence: runs, seeds, nets, steps, data."""
    rows = [entry.row for entry in entries]
    count = f"{len(rows)} {'run' if len(rows) == 1 else 'runs'}"
    configs = [entry.config for entry in entries if entry.config]
    manifests = [entry.manifest for entry in entries if entry.manifest]
    arms = {row["arm"] for row in rows}
    seeds = sorted({len({row["seed"] for row in rows if row["arm"] == arm}) for arm in arms})
    depths = sorted({row["depth"] for row in rows})
    parts = [f"depth {joined(depths)}"]
    if configs:
        steps = joined(f"{config.optim.steps:,}" for config in configs)
        batch = joined(config.optim.batch_size for config in configs)
        parts.append(f"{steps} steps of {batch} images")
    images = joined(
        f"{manifest['data']['num_train']:,}" for manifest in manifests if "num_train" in manifest["data"]
    )
    data = joined(manifest["data"]["label"] for manifest in manifests)
    tail = f", trained on {images} images of {data}" if manifests else ""
    each = "one seed each" if seeds == [1] else f"{joined(seeds)} seeds each"
    return f"{count}, {each}: {', '.join(parts)}{tail}."


def differed(entries: Sequence[Entry]) -> str:
    """Return, as HTML, the keys in which the arms' configs differ, and nothing else.

    What was varied in every arm alike is no difference between arms.
    """
    arms: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.config is not None:
            arms.setdefault(entry.row["arm"], []).append(entry)
    keys = dict.fromkeys(key for own in arms.values() for entry in own for key in entry.facts)
    rows = []
    for key in keys:
        values = [joined(dict.fromkeys(_text(entry.fact(key)) for entry in own)) for own in arms.values()]
        if len(set(values)) > 1:
            rows.append((key, *values))
    if not rows:
        return page.paragraph("Nothing: their configs are the same.")
    axes = [short(key) for key in varied(entries)]
    alike = f" Varied in all arms: {joined(axes)}." if axes else ""
    note = page.paragraph(f"All other keys of the configs are the same.{alike}", kind="note")
    return page.table(("key", *arms), rows) + note


def how_it_was_run(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return what the manifests say of the machine and the data, values that differ side by side."""
    manifests = [entry.manifest for entry in entries if entry.manifest]

    def of(section: str, *keys: str) -> str:
        return joined(
            " ".join(_known(manifest.get(section), key) for key in keys).strip() for manifest in manifests
        )

    created = sorted(str(manifest["created"])[:16] for manifest in manifests if manifest.get("created"))
    pairs = [
        ("data", of("data", "label")),
        ("training images", of("data", "num_train")),
        ("test images", of("data", "num_test")),
        ("classes", of("data", "num_classes")),
        ("their fingerprint", joined(_known(manifest["data"], "fingerprint")[:16] for manifest in manifests)),
        ("device", of("execution", "device")),
        ("devices a run", of("execution", "devices")),
        ("precision", of("execution", "precision")),
        ("execution", of("execution", "mode")),
        ("why", of("execution", "reason")),
        ("CPU threads", of("execution", "threads")),
        ("machine", joined(_text(manifest.get("machine", "")) for manifest in manifests)),
        ("versions", joined(_text(manifest.get("versions", "")) for manifest in manifests)),
        ("commit", joined(manifest.get("commit") or "not recorded" for manifest in manifests)),
        ("begun", " to ".join(dict.fromkeys([*created[:1], *created[-1:]])).replace("T", " ")),
    ]
    return [(term, text) for term, text in pairs if text]


def _known(section: Any, key: str) -> str:
    return _text(section[key]) if isinstance(section, Mapping) and key in section else ""


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
