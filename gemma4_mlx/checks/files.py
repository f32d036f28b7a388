"""Whether the files of the weights are whole, and what can be read of them when they are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gemma4_mlx.checks.outcome import Check, Status, in_units
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.json_files import read_json
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors, read_header

NAME = "files"


@dataclass(frozen=True)
class Found:
    """Tensors by their name in the files; ``lost`` are names whose file cannot be read."""

    tensors: Mapping[str, TensorInfo]
    lost: frozenset[str] = frozenset()


def check_files(path: Path) -> tuple[Check, Found]:
    """Every file's header against its length, and the index against the files."""
    try:
        tensors = checkpoint_tensors(path)
    except CheckpointError as error:
        problems, found = _salvage(path, [str(error)])
        detail = f"{len(found.tensors):,} tensors can be read"
        return Check(NAME, Status.FAILED, detail, tuple(problems)), found
    files = {info.file for info in tensors.values()}
    size = in_units(sum(file.stat().st_size for file in files))
    count = f"{len(files)} files" if len(files) > 1 else "1 file"
    return Check(NAME, Status.OK, f"{count}, {len(tensors):,} tensors, {size}"), Found(tensors)


def _salvage(path: Path, problems: list[str]) -> tuple[list[str], Found]:
    """All that is wrong, where loading stops at the first, and the tensors of sound files."""
    tensors: dict[str, TensorInfo] = {}
    sound: set[str] = set()
    single = path / "model.safetensors"
    index = _index(path)
    files = [single] if single.exists() and not index else sorted(path.glob("*.safetensors"))
    for file in files:
        try:
            tensors = read_header(file) | tensors
            sound.add(file.name)
        except CheckpointError as error:
            if str(error) not in problems:
                problems.append(str(error))
    lost = {name for name, file in index.items() if file not in sound}
    return problems, Found(tensors, frozenset(lost))


def _index(path: Path) -> dict[str, str]:
    file = path / "model.safetensors.index.json"
    try:
        weight_map = read_json(file).get("weight_map") if file.exists() else None
    except CheckpointError:  # told already
        return {}
    if not isinstance(weight_map, dict):
        return {}
    return {name: file for name, file in weight_map.items() if isinstance(file, str)}
