"""Keys and Ctrl-C while a reply is drawn."""

import os
import signal
import subprocess
import sys
import termios
import threading

import pytest

from gemma4_cli.chat.reply.undisturbed import echo_off, interrupt_held

# Takes its stdin for the terminal that controls it, as a shell's child does.
CHILD = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from gemma4_cli.chat.reply.undisturbed import echo_off
restore = echo_off()
print("off", flush=True)
print("got", input(), flush=True)
restore()
print("on", flush=True)
print("got", input(), flush=True)
"""


def test_ctrl_c_waits_for_the_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupt_held():
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_is_not_hidden_by_ctrl_c() -> None:
    with pytest.raises(ZeroDivisionError), interrupt_held():
        os.kill(os.getpid(), signal.SIGINT)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_may_draw() -> None:
    done = []

    def draw() -> None:
        with interrupt_held():
            done.append(True)

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert done


def test_keys_are_not_echoed_but_read_later() -> None:
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=theirs,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "off\n"
    assert not termios.tcgetattr(theirs)[3] & termios.ECHO
    os.write(ours, b"typed ahead\n")
    assert child.stdout.readline() == "got typed ahead\n"
    assert child.stdout.readline() == "on\n"
    assert termios.tcgetattr(theirs)[3] & termios.ECHO
    os.write(ours, b"seen\n")
    assert child.stdout.readline() == "got seen\n"
    assert child.wait(10) == 0
    shown = os.read(ours, 100)
    assert b"seen" in shown and b"typed ahead" not in shown
    os.close(ours)
    os.close(theirs)
    child.stdout.close()


def test_without_a_terminal_there_is_nothing_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        echo_off()()
    ours, theirs = os.openpty()
    with open(theirs) as keyboard:  # a terminal, but not the one that controls this process
        monkeypatch.setattr("sys.stdin", keyboard)
        echo_off()()
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    os.close(ours)
