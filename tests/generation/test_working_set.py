"""What is wired and how much may be kept of what is freed, on a Mac that is made up."""

from contextlib import ExitStack
from pathlib import Path

import mlx.core as mx
import pytest

from gemma4_mlx import load_model
from gemma4_mlx.generation.session import ChatSession
from gemma4_mlx.generation.stream import stream_generate
from gemma4_mlx.generation.working_set import tight_fit, weights_in_use, working_set
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.processing.tokenizer import Tokenizer
from tests import goldens
from tests.generation.tiny_model import tiny_model

WIRED, FREED = 7, 10**12  # the limits before
MEGABYTE = 2**20


class Mac:
    """Notes the limits that are set, in order; ``now`` are those in force."""

    def __init__(self, available: int):
        self.available = available
        self.now = {"wired": WIRED, "freed": FREED}
        self.log: list[tuple[str, int]] = []

    def set(self, name: str, limit: int) -> int:
        before, self.now[name] = self.now[name], limit
        self.log.append((name, limit))
        return before

    @property
    def untouched(self) -> bool:
        return self.now == {"wired": WIRED, "freed": FREED}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Mac:
    mac = Mac(1000 * MEGABYTE)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    told = "max_recommended_working_set_size"
    monkeypatch.setattr(mx, "device_info", lambda: {told: mac.available})
    monkeypatch.setattr(mx, "set_wired_limit", lambda limit: mac.set("wired", limit))
    monkeypatch.setattr(mx, "set_cache_limit", lambda limit: mac.set("freed", limit))
    monkeypatch.setattr(mx, "synchronize", lambda: mac.log.append(("synchronize", 0)))
    return mac


@pytest.fixture
def tiny(tokenizer: Tokenizer) -> tuple[Gemma4Model, Processor]:
    return tiny_model("e2b", tokenizer)


def test_limits_hold_within_and_are_put_back(mac: Mac, tiny: tuple[Gemma4Model, Processor]) -> None:
    model, _ = tiny
    with working_set(model):
        spare = mac.available - weights_in_use(model)
        assert mac.now == {"wired": mac.available, "freed": spare // 4}
    # No step may be under way when the limit changes.
    assert mac.log[2:] == [("synchronize", 0), ("wired", WIRED), ("freed", FREED)]


def test_a_model_that_fills_the_machine_can_still_reuse_buffers(
    mac: Mac, tiny: tuple[Gemma4Model, Processor]
) -> None:
    mac.available = 1000
    with working_set(tiny[0]):
        assert mac.now == {"wired": 1000, "freed": 64 * MEGABYTE}


def test_replies_that_overlap(mac: Mac, tiny: tuple[Gemma4Model, Processor]) -> None:
    """Two generators need not end in the order in which they began."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(working_set(tiny[0]))
    second.enter_context(working_set(tiny[0]))
    first.close()
    assert mac.now["wired"] == mac.available
    second.close()
    assert mac.untouched
    with pytest.raises(RuntimeError), working_set(tiny[0]):
        raise RuntimeError
    assert mac.untouched


def test_a_reply_wires_from_its_prompt_to_its_end(
    mac: Mac, tiny: tuple[Gemma4Model, Processor]
) -> None:
    chunks = stream_generate(*tiny, "Hi", max_tokens=8, temperature=0)
    assert mac.untouched
    next(chunks)
    assert mac.now["wired"] == mac.available
    chunks.close()
    assert mac.untouched

    during = []
    session = ChatSession(*tiny, max_tokens=8, temperature=0)
    for chunk in session.send("Hello there", lambda *_: during.append(mac.now["wired"])):
        if chunk.finish_reason is None:
            during.append(mac.now["wired"])
    assert set(during) == {mac.available} and len(during) > 1
    assert mac.untouched


def test_nothing_is_set_without_metal(
    mac: Mac, tiny: tuple[Gemma4Model, Processor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx.metal, "is_available", lambda: False)
    mac.available = 1000
    list(stream_generate(*tiny, "Hi", max_tokens=2))
    assert mac.log == [] and tight_fit(tiny[0]) is None


def of_file(path: Path, *prefixes: str) -> int:
    tensors = checkpoint_tensors(path)
    names = [name for name in tensors if name.removeprefix("model.").startswith(prefixes)]
    return sum(tensors[name].nbytes for name in names)


def test_weights_that_a_reply_reads() -> None:
    path = goldens.checkpoint("e2b")
    flash, memory = load_model(path, ple="flash"), load_model(path, ple="memory")
    table = of_file(path, "language_model.embed_tokens_per_layer")
    vision = of_file(path, "vision_tower", "embed_vision")
    audio = of_file(path, "audio_tower", "embed_audio")
    text = weights_in_use(flash)
    assert 0 < text <= of_file(path, "language_model") - table
    assert weights_in_use(memory) == text + table
    assert weights_in_use(flash, ["image", "video"]) == text + vision
    assert weights_in_use(flash, {"audio"}) == text + audio
    assert weights_in_use(flash, {"audio", "image"}) == text + vision + audio


def test_a_tight_fit_is_more_than_nine_tenths(mac: Mac) -> None:
    model = load_model(goldens.checkpoint("e2b"), ple="flash")
    text = weights_in_use(model)
    mac.available = int(text / 0.9) + 1
    assert tight_fit(model) is None
    assert tight_fit(model, ["audio"]) == (weights_in_use(model, ["audio"]), mac.available)
    mac.available = int(text / 0.9) - 1
    assert tight_fit(model) == (text, mac.available)
