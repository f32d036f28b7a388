"""Loading reads headers, not weights: the table of per-layer embeddings and the towers stay put.

The checkpoints here have a table or a tower of gigabytes, as sparse files that take no room on
disk. A process that read one would show it in its memory.
"""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import load_model
from gemma4_mlx.errors import InputError
from tests import goldens
from tests.reference import ours
from tests.reference.checkpoints import edit_json

HUGE_ROWS = 6_000_000
GIGABYTE = 1e9
TABLE = "model.language_model.embed_tokens_per_layer.weight"
POSITIONS = "model.vision_tower.patch_embedder.position_embedding_table"

_MEASURE = """
import json, resource, sys, time
import mlx.core as mx
from gemma4_mlx import load_model

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

before, start = peak(), time.perf_counter()
model = load_model(sys.argv[1], ple=sys.argv[2])
seconds, loaded = time.perf_counter() - start, peak()
logits = model(mx.array([[2, 20, 30, 100]]))
mx.eval(logits)
print(json.dumps({
    "load": loaded - before, "run": peak() - before, "seconds": seconds,
    "mlx": mx.get_peak_memory(), "logits": logits[0, -1].astype(mx.float32).tolist(),
}))
"""


def make_sparse(path: Path, names: list[str], rows: int, axis: int) -> None:
    """Give tensors ``rows`` rows: those they have, then nothing but holes in the file."""
    file = path / "model.safetensors"
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    header.pop("__metadata__", None)
    grown = {name: header.pop(name) for name in names}
    written, out = {}, b""
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start = len(out)
        out += data[slice(*entry["data_offsets"])]
        written[name] = {**entry, "data_offsets": [start, len(out)]}

    end, pieces = len(out), [(0, out)]
    for name, entry in grown.items():
        shape = list(entry["shape"])
        content = np.frombuffer(data[slice(*entry["data_offsets"])], np.uint8)
        slabs = content.reshape(int(np.prod(shape[:axis])), -1)
        stride = slabs.shape[1] // shape[axis] * rows
        shape[axis] = rows
        pieces += [(end + i * stride, slab.tobytes()) for i, slab in enumerate(slabs)]
        written[name] = {**entry, "shape": shape, "data_offsets": [end, end + stride * len(slabs)]}
        end += stride * len(slabs)

    raw = json.dumps(written).encode()
    raw += b" " * (-len(raw) % 8)
    with file.open("wb") as stream:
        stream.write(len(raw).to_bytes(8, "little") + raw)
        for start, piece in pieces:
            stream.seek(8 + len(raw) + start)
            stream.write(piece)
        stream.truncate(8 + len(raw) + end)


def measure(path: Path, ple: str) -> dict:
    command = [sys.executable, "-c", _MEASURE, str(path), ple]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("ple", ["flash", "auto"])
def test_ple_table_is_not_read(ple, checkpoint) -> None:
    path = checkpoint("e2b")
    expected = np.array(load_model(str(path))(mx.array([[2, 20, 30, 100]])).astype(mx.float32))
    make_sparse(path, [TABLE], HUGE_ROWS, axis=0)
    text = json.loads((path / "config.json").read_text())["text_config"]
    edit_json(path / "config.json", text_config=text | {"vocab_size_per_layer_input": HUGE_ROWS})
    assert (path / "model.safetensors").stat().st_size > 1.8 * GIGABYTE

    found = measure(path, ple)
    assert found["load"] < 0.2 * GIGABYTE
    assert found["run"] < 0.4 * GIGABYTE
    assert found["mlx"] < 0.1 * GIGABYTE
    assert np.allclose(found["logits"], expected[0, -1], atol=0.05)  # two runs in bfloat16


def test_quantized_ple_table_is_not_read(checkpoint) -> None:
    """The same at 4 bits, where rows are dequantized a few kilobytes at a time."""
    from tests.reference.checkpoints import read_weights, write_weights

    path = checkpoint("e2b")
    weights = read_weights(path)
    packed, scales, biases = mx.quantize(weights.pop(TABLE), group_size=32, bits=4)
    weights |= {TABLE: packed}
    weights |= {TABLE.replace("weight", "scales"): scales}
    weights |= {TABLE.replace("weight", "biases"): biases}
    write_weights(path, weights)
    edit_json(path / "config.json", quantization={"group_size": 32, "bits": 4, "mode": "affine"})
    expected = np.array(load_model(str(path))(mx.array([[2, 20, 30, 100]])).astype(mx.float32))

    rows = 4 * HUGE_ROWS
    parts = [TABLE.replace("weight", part) for part in ("weight", "scales", "biases")]
    make_sparse(path, parts, rows, axis=0)
    text = json.loads((path / "config.json").read_text())["text_config"]
    edit_json(path / "config.json", text_config=text | {"vocab_size_per_layer_input": rows})
    assert (path / "model.safetensors").stat().st_size > 1.8 * GIGABYTE

    found = measure(path, "flash")
    assert found["run"] < 0.4 * GIGABYTE and found["mlx"] < 0.1 * GIGABYTE
    assert np.allclose(found["logits"], expected[0, -1], atol=0.05)


def test_towers_are_not_read_for_text(checkpoint) -> None:
    path = checkpoint("26b")
    make_sparse(path, [POSITIONS], 20_000_000, axis=1)
    vision = json.loads((path / "config.json").read_text())["vision_config"]
    edit_json(path / "config.json", vision_config=vision | {"position_embedding_size": 20_000_000})
    assert (path / "model.safetensors").stat().st_size > 3 * GIGABYTE

    found = measure(path, "auto")
    assert found["run"] < 0.4 * GIGABYTE and found["mlx"] < 0.1 * GIGABYTE


@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_placement_of_the_table_changes_nothing(family, checkpoint) -> None:
    path = checkpoint(family)
    inputs = goldens.inputs(family, "mixed")
    found = []
    for ple in ("flash", "memory", "auto"):
        model = load_model(str(path), dtype=mx.float32, ple=ple)
        found.append((ours.logits(model, inputs), ours.greedy_through_loop(model, inputs, 16, 9)))
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][0], found[2][0])
    assert found[0][1] == found[1][1] == found[2][1] == [goldens.greedy(family, "mixed")[:16]]


@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_table_on_flash_in_bfloat16(family, checkpoint) -> None:
    """Staged rows pass through uint16: the values must be the very same."""
    path = checkpoint(family)
    inputs = goldens.inputs(family, "text")
    flash, memory = (load_model(str(path), ple=ple) for ple in ("flash", "memory"))
    one, two = (model(**ours.to_mlx(inputs)).astype(mx.float32) for model in (flash, memory))
    assert np.array_equal(np.array(one), np.array(two))
    steps = [ours.greedy_through_loop(model, inputs, 32, 16) for model in (flash, memory)]
    assert steps[0] == steps[1]


def test_unknown_placement(checkpoint) -> None:
    with pytest.raises(InputError, match="ple"):
        load_model(str(checkpoint("e2b")), ple="disk")
