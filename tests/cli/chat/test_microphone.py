"""The microphone: what is recorded, what is said, and what to do when it does not work.

A stub gives the sound in most tests; those with PulseAudio record from a real device.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from gemma4_cli import microphone
from gemma4_cli.microphone import RATE, record
from gemma4_cli.portaudio import silent
from gemma4_mlx.errors import MediaError, MissingExtraError
from tests.cli.chat.pulse import Microphone, needs_pulse, placed, software_microphone
from tests.cli.chat.sound_stub import SoundStub

Plug = Callable[..., SoundStub]


@pytest.fixture(scope="module")
def digits_file(repository: Path) -> Path:
    """4.6 s of a person saying digits, from 0.14 s to 4.4 s."""
    return repository / "notebooks/demo_model/digits.wav"


@pytest.fixture(scope="module")
def digits(digits_file: Path) -> np.ndarray:
    return soundfile.read(digits_file, dtype="float32")[0]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Connects a microphone that gives the sound."""

    def plug(sound: np.ndarray, **settings: int) -> SoundStub:
        stub = SoundStub(sound, **settings)
        monkeypatch.setitem(sys.modules, "sounddevice", stub)
        monkeypatch.setattr(microphone, "time", stub)
        return stub

    return plug


def hiss(seconds: float, level: float = -70) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 10 ** (level / 20), round(seconds * RATE))


def spoken(digits: np.ndarray, before: float, after: float, level: float = -70) -> np.ndarray:
    """The digits in a room that hisses."""
    sound = hiss(before + len(digits) / RATE + after, level)
    start = round(before * RATE)
    sound[start : start + len(digits)] += digits
    return sound.astype(np.float32)


def after_enter(seconds: float) -> Callable[[float, float], bool]:
    """A tick that ends the recording after so many of its calls, 20 a second."""
    ticks: Iterator[bool] = iter([True] * (round(seconds * 20) - 1) + [False])
    return lambda *_: next(ticks)


@pytest.mark.parametrize("before", [0.0, 0.4, 3.0, 9.0])
def test_from_a_second_before_the_first_word_to_a_second_after_the_last(
    plug_in: Plug, digits: np.ndarray, before: float
) -> None:
    sound = spoken(digits, before, 5)
    stub, said = plug_in(sound), list[str]()
    clock = []
    samples = record(
        tick=lambda seconds, level: not clock.append((seconds, level)), say=said.append
    )
    assert samples.dtype == np.float32 and samples.shape == (len(samples),)
    start = next(s for s in range(len(sound)) if np.array_equal(sound[s : s + 9], samples[:9]))
    assert np.array_equal(sound[start : start + len(samples)], samples)
    assert start / RATE == pytest.approx(max(0, before + 0.15 - 1), abs=0.06)
    assert (start + len(samples)) / RATE == pytest.approx(before + 4.4 + 1, abs=0.2)
    assert said == [] and stub.open == 0 and stub.opened == 1
    seconds, levels = zip(*clock, strict=True)
    waited = seconds.count(0.0) / 20
    assert before - 0.1 < waited < before + 1.0
    assert seconds[-1] == pytest.approx(len(samples) / RATE) and sorted(seconds) == list(seconds)
    assert -75 < levels[-1] < -65 and -30 < max(levels) < -10


def test_a_longer_silence_ends_it_later(plug_in: Plug, digits: np.ndarray) -> None:
    plug_in(spoken(digits, 0.5, 5))
    short = record(say=pytest.fail)
    plug_in(spoken(digits, 0.5, 5))
    assert (len(record(silence=2.5, say=pytest.fail)) - len(short)) / RATE == pytest.approx(1.5)


@pytest.mark.parametrize("level", [-70, -30])
def test_noise_of_the_room_is_no_word(plug_in: Plug, level: float) -> None:
    stub = plug_in(hiss(30, level))
    with pytest.raises(
        MediaError, match=rf"no words in 10 s.* {level} dBFS from Stub: speak louder"
    ):
        record()
    assert stub.open == 0


def test_waits_as_long_as_it_is_told_and_no_longer_than_a_recording_may_be(plug_in: Plug) -> None:
    for wait, limit, seconds in [(3.0, 30.0, 3), (10.0, 4.0, 4)]:
        plug_in(hiss(30))
        with pytest.raises(MediaError, match=f"no words in {seconds} s"):
            record(wait=wait, limit=limit)


def test_the_limit_ends_it_and_is_said(plug_in: Plug, digits: np.ndarray) -> None:
    plug_in(spoken(np.tile(digits, 4), 2, 1))
    said: list[str] = []
    samples = record(limit=7.5, say=said.append)
    assert len(samples) == 7.5 * RATE
    assert said == ["the recording was ended after 7.5 s, the longest that the model takes"]


def test_enter_ends_it_with_what_was_on_its_way(plug_in: Plug, digits: np.ndarray) -> None:
    sound = spoken(digits, 0, 9)
    plug_in(sound)
    samples = record(tick=after_enter(2), say=pytest.fail)
    assert 2.03 * RATE <= len(samples) <= 2.2 * RATE
    assert np.array_equal(samples, sound[: len(samples)])


def test_enter_without_words_is_said(plug_in: Plug) -> None:
    plug_in(hiss(9))
    said: list[str] = []
    assert len(record(tick=after_enter(2), say=said.append)) >= 2 * RATE
    assert said == ["no words were made out in the recording; it is used as it is"]


def test_enter_at_once(plug_in: Plug) -> None:
    plug_in(hiss(0.05))
    with pytest.raises(MediaError, match=r"only 0\.05 s: speak first"):
        record(tick=after_enter(0.1))


def test_a_device_of_another_rate_and_more_channels(plug_in: Plug, digits: np.ndarray) -> None:
    sound = soxr.resample(spoken(digits, 0.5, 4), RATE, 44_100)
    stub = plug_in(np.stack([sound, sound / 2], axis=1), rate=44_100)
    said: list[str] = []
    samples = record(say=said.append)
    assert said == [
        "Stub: 2 channels mixed down to one",
        "Stub: resampled from 44100 Hz to 16000 Hz",
    ]
    assert 5.7 < len(samples) / RATE < 6.1 and stub.opened == 1
    expected = soxr.resample(sound * 0.75, 44_100, RATE)[: len(samples)]
    assert np.abs(samples - expected).max() < 1e-3 * np.abs(expected).max()


def test_one_channel_of_the_devices_own_rate_is_preferred(plug_in: Plug) -> None:
    stub = plug_in(hiss(9), rate=48_000)
    stub.takes = {(48_000, 1), (48_000, 2)}
    said: list[str] = []
    record(tick=after_enter(1), say=said.append)
    assert said[0] == "Stub: resampled from 48000 Hz to 16000 Hz"


def test_gaps_are_said(plug_in: Plug, digits: np.ndarray) -> None:
    plug_in(spoken(digits, 0, 4), lost=2)
    said: list[str] = []
    record(say=said.append)
    assert said == ["the machine was too busy to take all the sound: gaps in it: 2"]


@pytest.mark.parametrize("tick", [lambda *_: True, after_enter(3)])
def test_a_device_that_gives_only_silence(
    plug_in: Plug, tick: Callable[[float, float], bool]
) -> None:
    stub = plug_in(np.zeros(30 * RATE))
    levels: list[float] = []
    with pytest.raises(MediaError, match=r"\(Stub\) gives only silence"):
        record(tick=lambda seconds, level: levels.append(level) or tick(seconds, level))
    assert set(levels) == {-np.inf} and stub.open == 0


def test_the_permission_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    places = "System Settings → Privacy & Security → Microphone"
    for program, name in [
        *(("Apple_Terminal", "Terminal"), ("iTerm.app", "iTerm"), ("ghostty", "ghostty")),
        ("\x1b[2J", "[2J"),
    ]:
        monkeypatch.setenv("TERM_PROGRAM", program)
        message = str(silent("MacBook Pro Microphone", "darwin"))
        assert places in message and f"start {name} again" in message and "\n" not in message
    monkeypatch.delenv("TERM_PROGRAM")
    assert "start your terminal program again" in str(silent("x", "darwin"))
    assert "macOS" not in str(silent("x", "linux")) and "muted" in str(silent("x", "linux"))


def test_a_device_that_stops_giving_sound(plug_in: Plug, digits: np.ndarray) -> None:
    stub = plug_in(digits[: RATE * 2])
    with pytest.raises(MediaError, match=r"\(Stub\) gave no sound for 5 s: connect it again"):
        record(tick=lambda *_: stub.now < 100 + 2 + 7)
    assert stub.open == 0


def test_no_microphone(plug_in: Plug) -> None:
    plug_in(hiss(1)).has_input = False
    with pytest.raises(MediaError, match="there is no microphone: connect one"):
        record()


def test_a_microphone_that_cannot_be_opened(plug_in: Plug) -> None:
    stub = plug_in(hiss(1))
    stub.takes, stub.name = set(), "a\x1b]0;b\n"
    with pytest.raises(MediaError) as raised:
        record()
    message = str(raised.value).replace("\n", " ")
    assert "Invalid sample rate [-9997]; end the program that uses it" in message
    assert "\x1b" not in message and "a]0;b" in message


def test_devices_are_listed_anew_every_time(plug_in: Plug, digits: np.ndarray) -> None:
    stub = plug_in(spoken(digits, 0, 4))
    record(say=pytest.fail)
    assert stub.listed == 1


def test_ctrl_c_closes_the_device(plug_in: Plug) -> None:
    stub = plug_in(hiss(9))

    def interrupt(seconds: float, level: float) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(tick=interrupt)
    assert (stub.opened, stub.open) == (1, 0)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"mic extra: pip install 'gemma4-mlx\[mic\]'"):
        record()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise OSError('PortAudio library not found')", "apt install libportaudio2"),
        ("import _sounddevice_data", "brew install portaudio"),
        ("raise RuntimeError('Error initializing PortAudio: [-1]')", "sound system does not start"),
    ],
)
def test_without_portaudio(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(line + "\n")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setitem(sys.modules, "_sounddevice_data", None)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MediaError, match=message) as raised:
        record()
    assert "\n" not in str(raised.value) and "PortAudio" in str(raised.value)


@pytest.fixture(scope="module")
def real_microphone() -> Iterator[Microphone]:
    with software_microphone() as found:
        yield found


_RECORD = """\
import sys
import numpy as np
from gemma4_cli.microphone import record
from gemma4_mlx.errors import MediaError

ticks = []
def tick(seconds, level):
    if not ticks:
        print("recording", flush=True)
    ticks.append(seconds)
    return True

try:
    np.save(sys.argv[1], record(tick=tick, wait=float(sys.argv[2])))
except MediaError as error:
    print(error)
"""


def record_from(
    device: Microphone, file: Path, play: Path | None = None, wait: float = 10
) -> tuple[np.ndarray | None, str]:
    """What a process of its own records while ``play`` is played, and what it says."""
    command = [sys.executable, "-c", _RECORD, str(file), str(wait)]
    run = subprocess.Popen(
        command, env=device.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    first = run.stdout.readline()
    if first == "recording\n" and play is not None:
        device.play(play)
    out, err = run.communicate(timeout=60)
    device.stop()
    return (np.load(file) if file.exists() else None), (first + out + err)


@needs_pulse
def test_a_real_device_gives_what_was_played(
    real_microphone: Microphone, digits_file: Path, digits: np.ndarray, tmp_path: Path
) -> None:
    samples, told = record_from(real_microphone, tmp_path / "heard.npy", digits_file)
    assert told == "recording\n" and samples is not None and samples.dtype == np.float32
    start, correlation = placed(samples, digits)
    assert correlation > 0.99
    assert start / RATE < 1 and (len(samples) - start) / RATE == pytest.approx(5.4, abs=0.2)


@needs_pulse
def test_a_real_device_in_a_noisy_room(
    real_microphone: Microphone, digits: np.ndarray, tmp_path: Path
) -> None:
    played = spoken(digits, 5, 4, level=-40)  # the noise that begins is to be got used to
    soundfile.write(tmp_path / "noisy.wav", played, RATE)
    samples, told = record_from(real_microphone, tmp_path / "heard.npy", tmp_path / "noisy.wav")
    assert told == "recording\n" and samples is not None
    assert placed(samples, digits)[1] > 0.95
    assert 1.0 + 4.2 + 0.5 < len(samples) / RATE < 1.0 + 4.2 + 1.4


@needs_pulse
def test_a_real_device_that_is_silent(real_microphone: Microphone, tmp_path: Path) -> None:
    samples, told = record_from(real_microphone, tmp_path / "heard.npy", wait=1.5)
    assert samples is None and "gives only silence" in told and told.count("\n") == 2


@needs_pulse
@pytest.mark.parametrize("left", ["pcm.gone { type hw card 77 }", "pcm.!default { type pulse }"])
def test_a_machine_without_devices_or_without_their_server(
    real_microphone: Microphone, tmp_path: Path, left: str
) -> None:
    (tmp_path / "asound.conf").write_text(left)
    changed = {"ALSA_CONFIG_PATH": f"{tmp_path}/asound.conf", "PULSE_SERVER": "unix:/nowhere"}
    nothing = Microphone({**real_microphone.environment, **changed})
    samples, told = record_from(nothing, tmp_path / "heard.npy")
    assert samples is None and told.count("\n") == 1
    assert told.startswith("there is no microphone: connect one")
