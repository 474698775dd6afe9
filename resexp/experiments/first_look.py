"""First look: what the gradient does in a comparison's nets before any of them is trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resexp.analysis.cells import cell_axes, grouped, settings_of
from resexp.data.batches import render, sample, unaugmented
from resexp.data.splits import Splits
from resexp.experiments.init_gradients import profiles_at_init
from resexp.experiments.plan import Job, labels
from resexp.report.live import FirstLook, RunPlace
from resexp.report.sentences import setting_words

LOOK_IMAGES = 8
"""Of the probe batch. More change T by a few percent, and seeds by a factor."""
MOST_LOOKS = 2
"""Pictures beside each other."""
MOST_WORK = 250_000
"""Sum of depth x width² over the nets that are measured: a few seconds on two cores."""


def cells_of(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Return the jobs by cell, in words: '' where nothing is varied."""
    facts: dict[str, Mapping[str, Any]] = {
        str(job.folder): dict(settings_of(job.config.tree())) for job in jobs
    }
    axes = cell_axes([(job.arm, facts[str(job.folder)]) for job in jobs])
    cells = grouped(jobs, axes, lambda job: facts[str(job.folder)])
    depths = {job.config.model.depth for job in jobs}
    named: dict[str, list[Job]] = {}
    for name, members in cells.items():
        depth = [f"depth {members[0].config.model.depth}"] if len(depths) > 1 else []
        named.setdefault(", ".join(filter(None, [*depth, setting_words(dict(name))])), []).extend(members)
    return named


def places_of(jobs: Sequence[Job]) -> dict[str, RunPlace]:
    """Return where each job stands in the comparison, by what it is called while it runs."""
    names = labels(jobs)
    return {
        names[job.folder]: RunPlace(cell, job.arm)
        for cell, members in cells_of(jobs).items()
        for job in members
    }


def first_looks(jobs: Sequence[Job], splits: Splits) -> Iterator[FirstLook]:
    """Yield the gradient by layer in the deepest nets, one seed an arm, for at most two cells.

    What would take long is left out: each run measures it at its first step.
    """
    deepest = max(job.config.model.depth for job in jobs)
    batch = render(splits.train.to("cpu"), unaugmented(sample(len(splits.train.labels), LOOK_IMAGES)))
    looks = work = 0
    for cell, members in cells_of(jobs).items():
        arms = {job.arm: job.config for job in reversed(members) if job.config.model.depth == deepest}
        work += sum(config.model.depth * config.model.width**2 for config in arms.values())
        if len(arms) < 2 or looks == MOST_LOOKS or work > MOST_WORK:
            continue
        looks += 1
        order = [arm for arm in dict.fromkeys(job.arm for job in jobs) if arm in arms]
        profiles = profiles_at_init([(arms[arm], arms[arm].seed) for arm in order], splits, batch)
        yield FirstLook(
            cell, deepest, {arm: profile.arriving() for arm, profile in zip(order, profiles, strict=True)}
        )
