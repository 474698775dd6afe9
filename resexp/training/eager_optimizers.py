"""torch's optimizers without torch's compiler, for steps that are never compiled themselves.

Each method of an optimizer imports Dynamo, a second of every start, only to tell it to keep out. Here that is
said without it. Where a torch is built otherwise nothing changes but the second.
"""

import inspect
from typing import Any, TypeVar, cast

import torch
from torch.optim import Optimizer

OneKind = TypeVar("OneKind", bound=Optimizer)
METHODS = (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict)


def without_dynamo(kind: type[OneKind]) -> type[OneKind]:
    """Return the same optimizer as a class of its own: the same steps, the same state."""
    for method in METHODS:
        itself: Any = inspect.unwrap(method)
        itself.__dynamo_disable = itself  # what torch calls in the method's place
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return cast(type[OneKind], type(kind.__name__, (kind,), {"step": step}))


SGD = without_dynamo(torch.optim.SGD)
Adam = without_dynamo(torch.optim.Adam)
AdamW = without_dynamo(torch.optim.AdamW)
