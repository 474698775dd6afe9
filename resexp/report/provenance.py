"""What was run: in a sentence, what differed between the arms, and on which machine, data and versions."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from resexp.analysis.cells import short
from resexp.report import html
from resexp.report.comparison_data import Entry, varied
from resexp.report.formatting import enumerated


def lead(entries: Sequence[Entry]) -> str:
    """Return what was done, in one sentence: runs, seeds, nets, steps, data."""
    rows = [entry.run for entry in entries]
    count = f"{len(rows)} {'run' if len(rows) == 1 else 'runs'}"
    configs = [entry.config for entry in entries if entry.config]
    manifests = [entry.began for entry in entries if entry.began]
    arms = {row.arm for row in rows}
    seeds = sorted({len({row.seed for row in rows if row.arm == arm}) for arm in arms})
    depths = sorted({row.depth for row in rows})
    parts = [f"depth {enumerated(depths)}"]
    if configs:
        steps = enumerated(f"{config.optim.steps:,}" for config in configs)
        batch = enumerated(config.optim.batch_size for config in configs)
        parts.append(f"{steps} steps of {batch} images")
    images = enumerated(
        f"{manifest.data.num_train:,}" for manifest in manifests if manifest.data.num_train is not None
    )
    data = enumerated(manifest.data.label for manifest in manifests)
    tail = f", trained on {images} images of {data}" if manifests else ""
    each = "one seed each" if seeds == [1] else f"{enumerated(seeds)} seeds each"
    return f"{count}, {each}: {', '.join(parts)}{tail}."


def differed(entries: Sequence[Entry]) -> str:
    """Return, as HTML, the keys in which the arms' configs differ, and nothing else.

    What was varied in every arm alike is no difference between arms.
    """
    arms: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.config is not None:
            arms.setdefault(entry.run.arm, []).append(entry)
    keys = dict.fromkeys(key for own in arms.values() for entry in own for key in entry.facts)
    rows = []
    for key in keys:
        values = [enumerated(dict.fromkeys(_text(entry.fact(key)) for entry in own)) for own in arms.values()]
        if len(set(values)) > 1:
            rows.append((key, *values))
    if not rows:
        return html.paragraph("Nothing: their configs are the same.")
    axes = [short(key) for key in varied(entries)]
    alike = f" Varied in all arms: {enumerated(axes)}." if axes else ""
    note = html.paragraph(f"All other keys of the configs are the same.{alike}", kind="note")
    return html.table(("key", *arms), rows) + note


def how_it_was_run(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return what the manifests say of the machine and the data, values that differ side by side."""
    manifests = [entry.began for entry in entries if entry.began]

    def of(section: Literal["data", "execution"], key: str) -> str:
        return enumerated(_known(manifest.section(section), key) for manifest in manifests)

    created = sorted(manifest.created[:16] for manifest in manifests if manifest.created)
    pairs = [
        ("data", of("data", "label")),
        ("training images", of("data", "num_train")),
        ("test images", of("data", "num_test")),
        ("classes", of("data", "num_classes")),
        ("their fingerprint", enumerated(manifest.data.fingerprint[:16] for manifest in manifests)),
        ("device", of("execution", "device")),
        ("devices a run", of("execution", "devices")),
        ("precision", of("execution", "precision")),
        ("kernels", of("execution", "kernels")),
        ("execution", of("execution", "mode")),
        ("why", of("execution", "reason")),
        ("CPU threads", of("execution", "threads")),
        ("machine", enumerated(_text(manifest.machine or "") for manifest in manifests)),
        ("versions", enumerated(_text(manifest.section("versions")) for manifest in manifests)),
        ("commit", enumerated(manifest.commit or "not recorded" for manifest in manifests)),
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
