"""Compilation of a net by Inductor: by rule, kept between processes, each net by its own shapes."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resexp.data.cache import cache_folder

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
SHAPES_IN_A_PROCESS = 256
"""Kinds of net before PyTorch would go on uncompiled without an error; it allows itself 8."""


def keep_compilations() -> None:
    """Let Inductor keep what it makes where resexp keeps its images, unless the user says otherwise.

    Its own choice is the folder for temporary files, which anyone may write to and a restart empties. It sets
    the variable to that itself, when some other import first asks for it.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # 1.5 s that only compiling pays

    if os.environ.get(VARIABLE) not in (None, os.path.abspath(default_cache_dir())):
        return
    folder = cache_folder() / "inductor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ[VARIABLE] = str(folder)


def keep_to_rules() -> None:
    """Have Inductor choose kernels by rule: by stopwatch, its choice on a GPU decides the order of sums."""
    from torch._inductor import config

    if hasattr(config, "deterministic"):  # as of torch 2.10
        config.deterministic = True


def compiled(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return `net` compiled when it is first called; another net of its shape is not compiled again.

    Shapes are never made symbolic: what a net becomes shall not depend on the nets before it.
    """
    keep_compilations()
    keep_to_rules()
    torch._dynamo.config.recompile_limit = SHAPES_IN_A_PROCESS  # pyright: ignore
    return torch.compile(net, dynamic=False)
