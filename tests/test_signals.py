"""One signal finishes the step; a second one, or one where nothing is to be saved, ends the process."""

import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.interrupting import train

from resexp.data.splits import Splits
from resexp.errors import Exit, Interrupted, Terminated
from resexp.records.lock import locked
from resexp.signals import SIGNALS, Stop, stop_on_signals
from resexp.training import checkpoint
from resexp.training.loop import Progress, run

CODES = {
    signal.SIGINT: Exit.INTERRUPTED,
    signal.SIGTERM: Exit.TERMINATED,
    signal.SIGHUP: Exit.TERMINATED,
    signal.SIGUSR1: Exit.TERMINATED,
    signal.SIGUSR2: Exit.TERMINATED,
}


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """Whoever starts the suite may have SIGHUP ignored, which would be inherited here and respected."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", CODES)
def test_one_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, splits: Splits, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), number)

    config = tiny_config(record__probes=(), record__eval_every=5)
    with (
        pytest.raises(
            (Interrupted, Terminated), match="stopped after step 5 of 12 and saved; add --resume"
        ) as caught,
        stop_on_signals() as stop,
        locked(tmp_path),
    ):
        run(config, tmp_path, splits, stop=stop, report=interrupt)
    assert caught.value.code == CODES[number]
    assert checkpoint.saved(tmp_path / "checkpoints")[-1].stem == "step-0000000005"
    assert train(tmp_path, config, splits) is not None


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("case", ["second signal", "not polled"])
def test_where_nothing_is_to_be_saved_a_signal_ends_the_process_at_once(
    number: signal.Signals, case: str
) -> None:
    pid = os.fork()
    if pid == 0:
        with stop_on_signals() as stop:
            if case == "second signal":
                with stop.polling():
                    os.kill(os.getpid(), number)
                    os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == CODES[number]


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_on_signals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop, stop.polling():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_whose_terminal_goes_away_is_told_to_stop_and_can_still_speak() -> None:
    """A real one: a pseudo-terminal whose other end is closed. What is written to it then raises EIO."""
    started, told = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        code = 99
        try:
            with stop_on_signals() as stop, stop.polling():
                os.write(told, b"x")
                while not stop():
                    time.sleep(0.001)
                os.write(2, b"saved")
                code = stop.error("").code
        finally:
            os._exit(code)
    os.read(started, 1)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == Exit.TERMINATED


def test_a_stop_nobody_asked_for_never_stops() -> None:
    assert not Stop()()
