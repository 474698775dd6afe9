"""Two run folders, compared to the last bit."""

from pathlib import Path

from resexp.experiments.verify import tensor_digests
from resexp.training import checkpoint

FILES = ("config.yaml", "metrics.jsonl", "profile.jsonl", "losses.bin", "result.json")


def differences(a: Path, b: Path) -> list[str]:
    """Name everything in which two ended runs differ, [] when they are the same: record, tensors, journal."""
    found = [name for name in FILES if (a / name).read_bytes() != (b / name).read_bytes()]
    for kind in checkpoint.KEPT:
        newest = [checkpoint.saved(folder / "checkpoints", kind)[-1:] for folder in (a, b)]
        if [path.name for path in newest[0]] != [path.name for path in newest[1]]:
            found.append(f"{kind}: {newest}")
        elif newest[0]:
            states = [checkpoint.read(paths[0]) for paths in newest]
            one, other = (
                {"step": state["step"], **state["journal"], **tensor_digests(state)} for state in states
            )
            found += [f"{kind} {key}" for key in one | other if one.get(key) != other.get(key)]
    return found
