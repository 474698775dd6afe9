"""Build the null GPU for the torch that is installed: g++ and the headers in its wheels.

python -m tests.null_gpu.build OUT        (OUT: a folder outside the project; 5 s)
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parent
ROOT = SOURCE.parents[1]
RUNTIME, DRIVER = "libnullruntime.so", "libcuda.so.1"

OF_RUNTIME = re.compile(r"(__cuda\w+|cuda[A-Z]\w*)@libcudart")
OF_CUBLAS = re.compile(r"(cublas[A-Z]\w*)")
OF_DRIVER = re.compile(r"\b(cu[A-Z]\w*)$")
"""In `nm`'s lines on torch's libraries: which of NVIDIA's libraries a missing symbol is of."""
NAMED_LIKE_THE_DRIVER = re.compile(r"cu(da|blas|dnn|FFT|File|Rand|Sparse|Solver)")
LOOKED_UP_BY_NAME = (
    "cuInit", "cuPointerGetAttributes", "cuCtxGetLimit", "cuCtxSetLimit", "cuTensorMapEncodeIm2col",
    "cuTensorMapEncodeTiled", "cuGetErrorName", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2",
    "cuCtxSetCurrent", "cuModuleUnload", "cuFuncSetAttribute", "cuFuncSetCacheConfig", "cuStreamSynchronize",
)  # fmt: skip
"""The driver's functions that Triton and torch find with dlsym, so that no library misses them."""


class CannotBuildError(Exception):
    """Why the null GPU cannot be built here."""


def build(out: Path) -> dict[str, str]:
    """Build into the folder `out`; return the environment in which a process has the null GPU."""
    packages = _packages()
    include = [f"-I{packages / 'nvidia/cu13/include'}", f"-I{packages / 'triton/backends/nvidia/include'}"]
    missing = _missing(sorted(packages.glob("torch/lib/lib*.so*")))
    out.mkdir(parents=True, exist_ok=True)

    _compile("-c", "-o", out / "runtime.o", SOURCE / "runtime.cpp", *include)
    _compile("-c", "-o", out / "driver.o", SOURCE / "driver.cpp")
    for name, wanted, call in (
        ("runtime", missing["runtime"], ""),
        ("cublas", missing["cublas"], 'null_gpu_library_call("{}"); '),
        ("driver", {*missing["driver"], *LOOKED_UP_BY_NAME}, ""),
    ):
        written = _defined(out / f"{'driver' if name == 'driver' else 'runtime'}.o")
        stubs = out / f"{name}_stubs.c"
        stubs.write_text(_stubs(sorted(wanted - written), call))
        _compile("-x", "c", "-c", "-o", stubs.with_suffix(".o"), stubs)
    objects = [out / f"{name}.o" for name in ("runtime", "runtime_stubs", "cublas_stubs")]
    _compile("-shared", "-o", out / RUNTIME, *objects)
    _compile("-shared", f"-Wl,-soname,{DRIVER}", "-o", out / DRIVER, out / "driver.o", out / "driver_stubs.o")
    # Python imports a module of this name by itself: so every process, whoever starts it, has cuDNN's part.
    (out / "sitecustomize.py").write_text("import tests.null_gpu.cudnn\n")
    return {
        "LD_PRELOAD": f"{out / RUNTIME}:{out / DRIVER}",
        "PYTHONPATH": os.pathsep.join(map(str, (out, ROOT, ROOT / "tests"))),
        "TRITON_LIBCUDA_PATH": str(out),
        "TRITON_CACHE_DIR": str(out / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(out / "inductor"),
    }


def _packages() -> Path:
    """The folder of installed packages. Raises CannotBuildError where it lacks what is needed."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise CannotBuildError("the null GPU is for x86-64 Linux")
    if shutil.which("g++") is None or shutil.which("nm") is None:
        raise CannotBuildError("no g++ and nm here")
    torch = importlib.util.find_spec("torch")
    assert torch
    assert torch.origin
    packages = Path(torch.origin).parents[1]
    for needed in (
        "torch/lib/libtorch_cuda.so",
        "nvidia/cu13/include/cuda_runtime_api.h",
        "triton/backends/nvidia",
    ):
        if not (packages / needed).exists():
            raise CannotBuildError(
                f"this torch is not built for CUDA 13 with Triton: no {needed} in {packages}"
            )
    return packages


def _missing(libraries: Iterable[Path]) -> Mapping[str, set[str]]:
    """Return what torch's libraries expect of the runtime, of cuBLAS and of the driver, by name."""
    found: dict[str, set[str]] = {"runtime": set(), "cublas": set(), "driver": set()}
    for line in _nm("--undefined-only", *libraries):
        if match := OF_RUNTIME.search(line):
            found["runtime"].add(match[1])
        elif match := OF_CUBLAS.search(line):
            found["cublas"].add(match[1])
        elif (match := OF_DRIVER.search(line)) and not NAMED_LIKE_THE_DRIVER.match(match[1]):
            found["driver"].add(match[1])
    return found


def _defined(library: Path) -> set[str]:
    return {line.split()[-1] for line in _nm("--defined-only", "--extern-only", library)}


def _nm(*arguments: str | Path) -> Iterator[str]:
    dynamic = ["-D"] if "--undefined-only" in arguments else []
    found = subprocess.run(["nm", *dynamic, *arguments], capture_output=True, text=True, check=True)
    return (line for line in found.stdout.splitlines() if line and not line.endswith(":"))


def _stubs(names: Iterable[str], call: str) -> str:
    """Return C functions that say success; `call` is what else they do."""
    functions = (f"long {name}(void) {{ {call.format(name)}return 0; }}" for name in names)
    return "\n".join(["void null_gpu_library_call(const char *name);", *functions, ""])


def _compile(*arguments: str | Path) -> None:
    command = ["g++", "-std=c++17", "-O1", "-fPIC", "-w", *map(str, arguments)]
    if "c" in arguments:
        command[0] = "gcc"
        command.remove("-std=c++17")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuildError(f"{' '.join(command)}: {done.stderr}")


if __name__ == "__main__":
    for name, value in build(Path(sys.argv[1]).absolute()).items():
        print(f"export {name}={value}")
