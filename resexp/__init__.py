"""Why do skip connections make very deep networks trainable? An experiment runner.

In a notebook or a script: `resexp.compare("plain", "residual")`, `resexp.train(config)`,
`resexp.gradients()`, `resexp.doctor(net)`, `resexp.runs()`, and `resexp.load(folder)` for a trained net. They
are imported when they are first asked for, so that `import resexp` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resexp._version import __version__

if TYPE_CHECKING:
    from resexp.api.compare import compare
    from resexp.api.doctor import doctor
    from resexp.api.gradients import gradients
    from resexp.api.runs import load, runs
    from resexp.api.train import train

__all__ = ["__version__", "compare", "doctor", "gradients", "load", "runs", "train"]

MODULES = {
    "compare": "resexp.api.compare",
    "doctor": "resexp.api.doctor",
    "gradients": "resexp.api.gradients",
    "load": "resexp.api.runs",
    "runs": "resexp.api.runs",
    "train": "resexp.api.train",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module 'resexp' has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
