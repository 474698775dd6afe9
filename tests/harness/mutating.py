"""Configs with letters, lines and bytes out of place: each is a config, or one line for each mistake."""

import random
import string
import time
from collections.abc import Sequence
from pathlib import Path

from harness.commands import resexp_from_cold
from harness.tally import Tally
from resexp.config import Config, write
from resexp.config.load import FOLDER, load
from resexp.errors import Exit, UsageError

SPLINTERS = [
    "&a ", "*a", "!!python/name:os.system ", "<<: ", "---\n", "...\n", "- ", "? ", ": ", "{", "}", "[", "]",
    '"', "'", "|\n", ">\n", "#", "%", "@", "`", "\t", "\r", "\n", "\0", "\x1b", "\ufeff", "\u2028", "é", "😀",
    "\\x41", "\\ud800", "1e999", "9" * 50, "-", ".nan", "null", "~", "true", "yes", "0x1", "1:30", "[" * 50,
    "{a: " * 50, "a" * 2000, "name: cosine", "schedule", "model:", "milestones: [3, 2]", "depth: 57", "name",
]  # fmt: skip


def mutate(text: str, rng: random.Random) -> bytes:
    """Change one to three places of `text`, and now and then a byte."""
    lines = text.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        kind, i = rng.randrange(6), rng.randrange(len(lines))
        j = rng.randrange(len(lines[i]) + 1)
        if kind == 0:
            lines[i] = lines[i][:j] + rng.choice(SPLINTERS) + lines[i][j:]
        elif kind == 1:
            lines[i] = lines[i][:j] + lines[i][j + rng.randint(1, 4) :]
        elif kind == 2:
            lines.insert(i, rng.choice(lines))
        elif kind == 3 and len(lines) > 1:
            del lines[i]
        elif kind == 4:
            lines[i] = " " * rng.randint(0, 6) + lines[i].lstrip()
        else:
            lines[i] = lines[i][:j] + rng.choice(string.printable) + lines[i][j + 1 :]
    content = "".join(lines).encode()
    if rng.random() < 0.1:
        k = rng.randrange(len(content) + 1)
        content = content[:k] + bytes([rng.randrange(256)]) + content[k + 1 :]
    return content


def shipped_texts() -> list[str]:
    """Return the shipped configs without the comments at their head."""
    texts = [path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yaml"))]
    return [text[text.index("\nname:") + 1 :] for text in texts]


def outcome(path: Path | None, sets: Sequence[str] = ()) -> tuple[Config | None, list[str]]:
    """Return a config and no lines, or none and the lines of its UsageError; anything else is raised."""
    try:
        return load(path, sets), []
    except UsageError as error:
        return None, list(error.lines)


def badly_said(lines: Sequence[str], begins: tuple[str, ...]) -> list[str]:
    """Return the lines that are not one short line each, naming what is complained of in UTF-8."""
    return [
        line
        for line in lines
        if len(line.splitlines()) != 1
        or len(line) >= 1000
        or not line.startswith(begins)
        or any("\ud800" <= letter <= "\udfff" for letter in line)
    ]


def mutate_configs(folder: Path, num: int, seed: int) -> Tally:
    """Load `num` mutated config files in this process, each in less than a second."""
    rng, texts, path = random.Random(seed), shipped_texts(), folder / "x.yaml"
    faults, num_configs = list[str](), 0
    for k in range(num):
        content = mutate(rng.choice(texts), rng)
        path.write_bytes(content)
        began = time.perf_counter()
        try:
            config, lines = outcome(path)
        except Exception as error:
            faults.append(f"{k}: {error!r} for {content!r}")
            continue
        if (seconds := time.perf_counter() - began) > 1:
            faults.append(f"{k}: {seconds:.1f} s for {content!r}")
        faults += [f"{k}: {line!r}" for line in badly_said(lines, (str(path), "and "))]
        if config is None:
            faults += [] if lines else [f"{k}: refused without a word"]
            continue
        num_configs += 1
        path.write_text(write(config))
        if load(path) != config:
            faults.append(f"{k}: written out, it reads back as another")
    if not num / 20 < num_configs < num * 19 / 20:
        faults.append(f"{num_configs} of {num} were configs: one of the two ways out was hardly tried")
    return Tally(num, faults)


def mutate_commands(folder: Path, num: int, seed: int) -> Tally:
    """Give `num` mutated config files to `resexp validate`: exit 0 or 2, never a traceback, without torch."""
    rng, texts = random.Random(seed), shipped_texts()
    faults, codes = list[str](), set[int]()
    for k in range(num):
        (folder / "x.yaml").write_bytes(mutate(rng.choice(texts), rng))
        ended = resexp_from_cold("validate", "x.yaml", folder=folder)
        codes.add(ended.code)
        faults += [f"{k}: {line!r}" for line in badly_said(ended.stderr.splitlines(), ("x.yaml", "and "))]
        if ended.code not in (0, Exit.USAGE) or bool(ended.stderr) != bool(ended.code):
            faults.append(f"{k}: {ended}")
        if not ended.stdout.endswith("no torch\n"):
            faults.append(f"{k}: torch was imported")
    if codes != {0, Exit.USAGE}:
        faults.append(f"exit codes {sorted(codes)}: one of the two ways out was not tried")
    return Tally(num, faults)
