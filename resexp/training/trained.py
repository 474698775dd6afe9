"""A finished run's net, for whoever wants to go on with it."""

from os import PathLike
from pathlib import Path

from resexp.errors import RunFolderError
from resexp.nets.network import Network, build
from resexp.records.run import Run
from resexp.training import checkpoint


def load_net(folder: str | PathLike[str]) -> Network:
    """Return the net of a finished run as its last checkpoint holds it, on the CPU, in evaluation mode.

    Where its weights were averaged (`optim.ema`), it has the average, by which it was evaluated.
    """
    run = Run(Path(folder))
    if run.status != "finished":
        raise RunFolderError(f"{folder}: {run.status}; only a finished run has a trained net")
    state, _ = checkpoint.newest(run.folder / "checkpoints")
    if state is None or state["step"] != run.config.optim.steps:
        raise RunFolderError(f"{folder}: the checkpoint of its last step is missing or damaged")
    config = run.config
    num_classes = run.manifest["data"]["num_classes"]
    net = build(seed=config.seed, num_classes=num_classes, **config.model.model_dump())
    net.take(state.get("average", state["net"]))
    return net.eval()
