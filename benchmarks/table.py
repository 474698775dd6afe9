"""The README's table of speed, made from the results that are kept.

python -m benchmarks.table
"""

import json

from benchmarks.results import PLACE

NAMES = {"textbook": "textbook loop", "tuned": "the same, tuned"}


def lines() -> list[str]:
    """Return the table in Markdown, a row for each net, way of training and machine."""
    rows = [
        "| net | trained by | images/s [range] | times the textbook | times the tuned | peak memory |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for path in sorted(PLACE.glob("throughput-*.json")):
        figures = json.loads(path.read_text())["figures"]
        for net, contenders in figures["nets"].items():
            for name, found in contenders.items():
                if name != "agreement":
                    rows.append(_row(figures, net, name, found))
    return rows


def _row(figures: dict, net: str, name: str, found: dict) -> str:
    speed = found["images_per_second"]
    ratios = [
        f"{figures[f'ratio_to_{opponent}'][net][name]:.2f}" if name.startswith("resexp") else ""
        for opponent in NAMES
    ]
    span = f"{speed['median']:.0f} [{speed['low']:.0f}, {speed['high']:.0f}]"
    memory = f"{found['peak_bytes'] / 2**20:.0f} MiB"
    depth = net.removeprefix("resnet")
    return f"| ResNet-{depth} | {NAMES.get(name, name)} | {span} | {ratios[0]} | {ratios[1]} | {memory} |"


if __name__ == "__main__":
    print(*lines(), sep="\n")
