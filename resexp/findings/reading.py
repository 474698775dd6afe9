"""A run folder as a comparison sees it."""

import os
from pathlib import Path

from resexp.findings.cells import RunSummary, settings_of
from resexp.records.run import Run


def summary_of(run: Run, *, arm: str, beside: Path) -> RunSummary:
    """Return the run's summary; its folder is given relative to `beside`.

    Raises RunFolderError where the record cannot be read. A run that has not ended has no scores yet.
    """
    result = run.result or {}
    model = run.config.model
    gradient = result.get("gradient") or {"first": {}, "last": {}}
    transport = result.get("transport") or {}
    curve = result.get("curve") or {"step": [], "loss": []}
    return RunSummary(
        arm=arm,
        kind=model.kind,
        depth=model.depth,
        norm=model.norm,
        init=model.init,
        seed=run.config.seed,
        status=run.status,
        num_classes=run.manifest["data"]["num_classes"],
        steps=run.config.optim.steps,
        parameters=run.manifest["parameters"],
        final_loss=result.get("final_loss"),
        loss_area=result.get("loss_area"),
        train_loss=result.get("train_loss"),
        train_accuracy=result.get("train_accuracy"),
        test_loss=result.get("test_loss"),
        test_accuracy=result.get("test_accuracy"),
        gradient_first=gradient["first"].get("norm"),
        gradient_last=gradient["last"].get("norm"),
        transport_initial=transport.get("initial"),
        transport_final=transport.get("final"),
        folder=os.path.relpath(run.folder, beside),
        curve=tuple(zip(curve["step"], curve["loss"], strict=True)),
        settings=settings_of(run.config.tree()),
    )
