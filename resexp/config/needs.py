"""What a key of the model section takes of the others: blocks that are not made for every net."""

from typing import Any

BLOCK_NEEDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "bottleneck": {"convs_per_block": (3,)},
    "highway": {
        "kind": ("residual",),
        "branch_scale": (1.0,),
        "shortcut_scale": (1.0,),
        "learn_branch_scale": (False,),
    },
    "fixup": {
        "kind": ("residual",),
        "norm": ("none",),
        "order": ("post",),
        "init": ("he",),
        "convs_per_block": (2, 3),
        "branch_scale": (1.0,),
        "shortcut_scale": (1.0,),
        "learn_branch_scale": (False,),
    },
}
"""What a block of this name takes of the other keys."""
SURVIVAL_NEEDS = {"kind": ("residual",), "block": ("basic", "bottleneck", "squeeze_excite")}
"""What stochastic depth takes of the other keys: a gate, or a beginning tuned to all blocks, is no branch to
leave out."""
