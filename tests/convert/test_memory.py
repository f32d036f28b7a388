"""The memory of a conversion does not grow with its tensors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# A table of 37 MB, then one of 220 MB, in a process that does nothing else.
SCRIPT = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace

from gemma4_convert.plan import Part, PlannedTensor
from gemma4_convert.policy import Quantization
from gemma4_convert.writing import write_conversion
from gemma4_mlx.loading.safetensors_file import TensorInfo

WIDTH = 8960
folder, mode = Path(sys.argv[1]), sys.argv[2]
how = Quantization.asked(None, None, mode)

def peak():
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def convert(rows):
    file = folder / f"{rows}.bin"
    with file.open("wb") as stream:
        stream.truncate(rows * WIDTH * 2)  # zeros that take no room on the disk
    info = TensorInfo(file, "BF16", (rows, WIDTH), 0)
    groups = (rows, WIDTH // how.group_size)
    parts = {"t.weight": Part("U32", (rows, WIDTH * how.bits // 32), rows * WIDTH * how.bits // 8)}
    if mode == "affine":
        size = groups[0] * groups[1] * 2
        parts |= {f"t.{name}": Part("BF16", groups, size) for name in ("scales", "biases")}
    else:
        parts["t.scales"] = Part("U8", groups, groups[0] * groups[1])
    tensor = PlannedTensor(
        "t.weight", "t.weight", "ple_table", info.shape, info, None, how, None, parts
    )
    plan = SimpleNamespace(
        source=folder, tensors=(tensor,), recipe=SimpleNamespace(dtype=None)
    )
    write_conversion(plan, folder / str(rows) / "x", {}, shard_bytes=10**9)
    file.unlink()
    return peak()

print(json.dumps([peak(), *(convert(rows) for rows in (2048, 12288))]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["affine", "mxfp8"])
def test_a_larger_table_takes_no_more_memory(mode: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    before, small, large = json.loads(done.stdout)
    assert small - before < 200e6
    assert large - small < 20e6
