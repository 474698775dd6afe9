"""The kernels on a CPU that is not here: NEON, compiled across and run by an emulator, beside plain loops."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from resexp.kernels.build import FLAGS, SOURCE

CHECK = Path(__file__).parent / "harness/check_kernels.cpp"
HERE = platform.machine()
ACROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def checked(compiler: str, folder: Path, *flags: str, by: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Compile and run the check with the source in `folder`; its exit code and lines."""
    shared = {"-shared", "-fPIC"}
    flags = (*(flag for flag in FLAGS if flag not in shared), *flags, f"-I{folder}")
    program = folder / "check"
    subprocess.run([compiler, *flags, "-o", program, CHECK], check=True, capture_output=True)
    done = subprocess.run([*by, program], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return shutil.copytree(SOURCE, tmp_path / "source")


@pytest.mark.skipif(
    not (shutil.which(ACROSS) and shutil.which(EMULATOR)), reason=f"no {ACROSS} or {EMULATOR}"
)
def test_neon_says_what_plain_loops_say_subnormal_numbers_included(source: Path) -> None:
    """About the instructions, not the threads: the emulator's are those of the machine it runs on."""
    code, lines = checked(ACROSS, source, "-static", by=(EMULATOR,))
    assert (code, lines[-1]) == (0, "4 floats at a time"), lines
    assert lines[-3:-1] == ["subnormal 0 kept", "subnormal 1 zero"]


@pytest.mark.skipif(HERE != "x86_64", reason="its smallest set of instructions is meant")
@pytest.mark.parametrize("wrong", [False, True])
def test_sse2_says_what_plain_loops_say_and_the_check_can_tell(source: Path, wrong: bool) -> None:
    if wrong:
        products = (source / "products.h").read_text()
        assert products.count("load<L>(at) + sum[r][v]") == 1
        (source / "products.h").write_text(products.replace("load<L>(at) + sum[r][v]", "sum[r][v]"))
    code, lines = checked("g++", source, "-march=x86-64")
    assert (code, lines[-1]) == (int(wrong), "4 floats at a time"), lines
