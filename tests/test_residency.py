"""What stays out of memory: towers and per-layer table in a text chat, a second tensor where K=V.

The checkpoint has towers and a table of tens of megabytes beside a decoder of a few. A process of
its own loads it and chats; what it then holds must be the decoder and the cache, and nothing else.
Each thing kept out is also let in once, to show that it would be noticed.
"""

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from gemma4_mlx import load_model
from gemma4_mlx.generation.loop import generate_tokens
from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.loading.rename import PLE_TABLE, in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from tests.bench import checkpoints

MEGABYTE = 10**6
TOWERS = ("vision_tower.", "embed_vision.", "audio_tower.", "embed_audio.")

# A chat with the demo first: what is imported and set up once is none of the model's memory.
_CHAT = """
import gc, json, sys
from pathlib import Path
import mlx.core as mx
from gemma4_mlx import load, load_model
from gemma4_mlx.generation.session import ChatSession

def told(file):
    found = Path("/proc/self", file)
    lines = found.read_text().splitlines() if found.exists() else []
    return {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines
            if line.endswith("kB") or file == "io")}

def chat(model, processor):
    session = ChatSession(model, processor, max_tokens=8, temperature=0)
    for question in ("What can you do?", "And what else?"):
        for chunk in session.send(question):
            pass
    return session

model, processor = load("demo", ple="flash")
chat(model, processor)
del model
gc.collect()
mx.clear_cache()
mx.reset_peak_memory()
base, read = told("status"), told("io").get("rchar", 0)
if base:
    Path("/proc/self/clear_refs").write_text("5")  # the mark of the most resident begins anew
active = mx.get_active_memory()

def held(session=None):
    gc.collect()
    mx.clear_cache()
    now = told("status")
    return {
        "cache": session._prefix.cache.nbytes if session else 0,
        "active": mx.get_active_memory() - active,
        "peak": mx.get_peak_memory() - active,
        "read": told("io").get("rchar", 0) - read,
        "anonymous": 1024 * (now.get("RssAnon", 0) - base.get("RssAnon", 0)),
        "most resident": 1024 * (now.get("VmHWM", 0) - base.get("VmRSS", 0)),
    }

model = load_model(sys.argv[1], ple=sys.argv[3])  # its tokenizer is the demo's
loaded = held()
if sys.argv[2] == "everything":
    mx.eval(model.parameters())
print(json.dumps([loaded, held(chat(model, processor))]))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """E2B with all kinds of tensors: narrow decoder, full rows in the table, real towers cut."""
    whole = checkpoints.config("e2b", "small")
    raw = checkpoints.config(
        *("e2b", "narrow"), vocab_size=1024, hidden_size_per_layer_input=256, num_hidden_layers=15,
        num_kv_shared_layers=5, layer_types=whole["text_config"]["layer_types"][:5] * 3,
    )  # fmt: skip
    raw["vision_config"], raw["audio_config"] = whole["vision_config"], whole["audio_config"]
    raw["audio_config"]["num_hidden_layers"] = 1
    path = tmp_path_factory.mktemp("residency") / "e2b"
    checkpoints.write(raw, path)
    chat(path)  # what a compiler reads to build MLX's kernels counts as read by its parent
    return path


def sizes(path: Path) -> tuple[int, int, int]:
    """Bytes in the file of the decoder, of the towers and of the per-layer table."""
    decoder = towers = table = 0
    plan = load_model(path, ple="flash").plan
    for name, info in checkpoint_tensors(path).items():
        ours = module_path(name)
        if ours.startswith(PLE_TABLE):
            table += info.nbytes
        elif ours.startswith(TOWERS):
            towers += info.nbytes
        elif not is_dropped(ours, plan):
            assert in_our_layout(ours, mx.zeros(info.shape)).keys() == {ours}
            decoder += info.nbytes
    return decoder, towers, table


def chat(path: Path, spoil: str = "nothing", ple: str = "flash") -> tuple[dict[str, int], ...]:
    """What a process holds beyond its base when it has loaded a model, and after a chat."""
    done = subprocess.run(
        [sys.executable, "-c", _CHAT, str(path), spoil, ple],
        capture_output=True, text=True, timeout=120, cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


def test_a_text_chat_holds_the_decoder_and_the_cache(checkpoint: Path) -> None:
    decoder, towers, table = sizes(checkpoint)
    assert min(towers, table) > 25 * MEGABYTE > decoder  # either would show

    loaded, after = chat(checkpoint)
    assert loaded["active"] <= loaded["peak"] < 0.1 * MEGABYTE
    assert 0 <= after["active"] - decoder - after["cache"] < MEGABYTE
    assert after["peak"] < decoder + after["cache"] + 5 * MEGABYTE
    # Of the process, where the system tells.
    assert loaded["anonymous"] < 5 * MEGABYTE and loaded["most resident"] < 8 * MEGABYTE
    assert loaded["read"] < MEGABYTE
    assert after["anonymous"] < decoder + after["cache"] + 8 * MEGABYTE
    assert after["most resident"] < decoder + after["cache"] + 20 * MEGABYTE
    assert after["read"] < decoder + MEGABYTE


@pytest.mark.parametrize(
    ("spoil", "ple"), [("everything", "flash"), ("nothing", "memory")], ids=["towers", "table"]
)
def test_what_becomes_resident_shows(spoil: str, ple: str, checkpoint: Path) -> None:
    """The bounds above would be broken by 25 MB or more."""
    decoder, towers, table = sizes(checkpoint)
    more = towers if spoil == "everything" else table
    _, after = chat(checkpoint, spoil, ple)
    assert after["active"] > decoder + after["cache"] + more - 0.1 * MEGABYTE
    if sys.platform == "linux":
        assert after["anonymous"] > decoder + after["cache"] + more - 5 * MEGABYTE
        assert after["read"] > decoder + more


def numbers_kept(path: Path, tokens: int) -> tuple[int, int]:
    """Bytes of the cache after a prompt and some steps, and by how much MLX's memory has grown."""
    model = load_model(path)
    mx.eval(model.language_model.parameters())
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    cache = model.make_cache()
    prompt: dict[str, Any] = {"input_ids": 64 + mx.arange(tokens - 3)[None] % 1000}
    steps = generate_tokens(model, prompt, cache, lambda logits: logits.argmax(-1), max_tokens=4)
    for _ in steps:
        pass
    del steps
    mx.synchronize()
    gc.collect()
    assert cache.offset == tokens
    return cache.nbytes, mx.get_active_memory() - before


@pytest.mark.parametrize("family", ["26b", "31b"])
def test_one_tensor_holds_keys_and_values(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = checkpoints.config(family, "narrow")["text_config"]["layer_types"][:6]
    assert layers.count("full_attention") == 1
    settings = {"layer_types": layers, "num_hidden_layers": len(layers), "sliding_window": 32}
    checkpoints.make(family, tmp_path / family, "narrow", **settings)

    tokens, kv_heads, itemsize = 1024, 1, 2
    local = 5 * 32 * 2 * 256 * kv_heads * itemsize
    one, two = (tokens * width * kv_heads * itemsize for width in (640, 2 * 512))
    nbytes, grown = numbers_kept(tmp_path / family, tokens)
    assert nbytes == local + one
    assert abs(grown - nbytes) < 0.1 * (two - one)

    monkeypatch.setattr(LayerPlan, "one_tensor", False)  # the measure sees a second tensor
    nbytes, grown = numbers_kept(tmp_path / family, tokens)
    assert nbytes == local + two
    assert abs(grown - nbytes) < 0.1 * (two - one)
