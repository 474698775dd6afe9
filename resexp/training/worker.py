"""The worker, every rank but the first: train along, and write nothing."""

import json
from typing import NamedTuple

from resexp.config import Config
from resexp.data.splits import load
from resexp.errors import DataError, UsageError
from resexp.signals import stop_on_signals
from resexp.training.distributed.process_group import joined
from resexp.training.distributed.rank import Rank
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution


class TrainingTask(NamedTuple):
    """What rank 0 tells the others before the first step."""

    config: Config
    data_name: str
    """what `data.name` turned out to be"""
    fingerprint: str
    execution: Execution
    digest: str = ""
    """of the config, for the sources of its plug-ins"""

    def to_json(self) -> str:
        """Return it as JSON: between ranks nothing travels that a stranger could make an object of."""
        return json.dumps(
            {**self._asdict(), "config": self.config.tree(), "execution": self.execution._asdict()}
        )

    @classmethod
    def from_json(cls, text: str) -> "TrainingTask":
        found = json.loads(text)
        config = Config.model_validate_json(json.dumps(found.pop("config")))
        return cls(config=config, execution=Execution(**found.pop("execution")), **found)


def follow(here: Rank) -> int:
    """Train along with rank 0, as it says, until it says how to end; return the exit code.

    Raises DataError (exit 3) where the images are not those that rank 0 has, UsageError (exit 2) where the
    source of a plug-in is not.
    """
    with joined(here) as group, stop_on_signals() as stop:
        task = TrainingTask.from_json(group.broadcast())
        if task.config.plugins() and task.config.digest() != task.digest:
            named = ", ".join(text for _, text in task.config.plugins())
            raise UsageError(f"rank {here.rank}: the source of {named} is not that of rank 0")
        section = task.config.data.model_copy(update={"name": task.data_name})
        splits = load(section)
        if splits.fingerprint != task.fingerprint:
            raise DataError(
                f"rank {here.rank}: the images in {section.root} are not those of rank 0 "
                f"(fingerprint {splits.fingerprint[:12]}, there {task.fingerprint[:12]})"
            )
        engine = prepared_engine(task.config, splits.train, task.execution, group)
        engine.restore(group.broadcast())
        with stop.polling():
            while (word := group.broadcast()) > 0:
                engine.advance(word, should_stop=group.pause_on_any_rank(stop))
    return -word
