"""Signals become a flag, once; what the parent had ignored stays ignored."""

from __future__ import annotations

import os
import signal

import pytest

from schmidt.progress import SIGNALS, Interruptible


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_becomes_a_flag_and_a_second_one_raises(number: int) -> None:
    old = signal.signal(number, signal.SIG_DFL)
    try:
        with Interruptible() as stopped:
            assert not stopped
            os.kill(os.getpid(), number)
            assert stopped
            assert stopped.signal == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, old)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_ignored_signal_stays_ignored(number: int) -> None:
    old = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruptible() as stopped:
            os.kill(os.getpid(), number)
            assert not stopped
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, old)
