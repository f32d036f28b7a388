"""Models mixed of two: the source with one tensor group of the result, for every group.

A mixed model is a tree of modules that holds the other two's tensors, none of its own: mixing
reads and copies nothing.
"""

import copy
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_convert.groups import GROUPS, UNPACKED, group_of
from gemma4_convert.report.streamed_table import StreamedTable
from gemma4_mlx.config import Modality
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.weights import load_weights
from gemma4_mlx.model import Gemma4Model

SOURCE, RESULT = "source", "result"
EVERY_GROUP = frozenset(group.name for group in GROUPS)

# Where a group makes a difference: what only a tower computes with, a prompt without media is
# spared. Groups that are not named here differ everywhere.
MEDIA_OF: dict[str, frozenset[Modality]] = {
    "vision": frozenset({Modality.IMAGE, Modality.VIDEO}),
    "audio": frozenset({Modality.AUDIO}),
    "vision_projector": frozenset({Modality.IMAGE, Modality.VIDEO}),
    "audio_projector": frozenset({Modality.AUDIO}),
}


def changed_groups(source: Gemma4Model, result: Gemma4Model) -> tuple[str, ...]:
    """The groups that the result stores otherwise than the source, in the order of the table.

    Packed, or in another dtype: dtypes and shapes tell, so nothing is read.
    """
    before, after = _stored(source), _stored(result)
    changed = {
        group_of(path).name for path, how in before.items() if path in after and after[path] != how
    }
    return tuple(group.name for group in GROUPS if group.name in changed)


def _stored(model: Gemma4Model) -> dict[str, tuple[mx.Dtype, tuple[int, ...]]]:
    tensors: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    tensors |= model.ple_tensors()
    return {path: (tensor.dtype, tensor.shape) for path, tensor in tensors.items()}


@dataclass(frozen=True)
class Variant:
    """A model to compare. Its embedding is ``table``: its own has never been read."""

    model: Gemma4Model
    table: StreamedTable


def load_variants(source: Path, dest: Path) -> dict[str, Variant]:
    """By name: the source, the result, and the source with each changed group of the result.

    All of them compute in float32. Nothing is read but headers. Raises CheckpointError for
    damaged checkpoints and for two that are not of the same model.
    """
    changed = changed_groups(load_weights(source, ple="flash"), load_weights(dest, ple="flash"))
    ours = load_weights(source, mx.float32, ple="flash")
    theirs = load_weights(dest, mx.float32, ple="flash")
    if ours.config.text != theirs.config.text:
        raise CheckpointError(
            f"{dest} is no conversion of {source}: their config.json tell of different decoders; "
            "name the checkpoint it was made from"
        )
    tables = {
        SOURCE: StreamedTable(source, ours.language_model.embed_tokens),
        RESULT: StreamedTable(dest, theirs.language_model.embed_tokens),
    }
    taken = {SOURCE: frozenset[str](), RESULT: EVERY_GROUP}
    taken |= {name: frozenset({name}) for name in changed}
    variants = {}
    for name, groups in taken.items():
        model = mixed(ours, theirs, groups)
        table = tables[RESULT if "embedding" in groups else SOURCE]
        model.language_model.embed_tokens = table  # type: ignore[assignment]  # as good as one
        rows = (theirs if "ple_table" in groups else ours).ple_rows
        if rows is not None:
            model.use_ple_rows(rows)
        variants[name] = Variant(model, table)
    return variants


def mixed(source: Gemma4Model, result: Gemma4Model, groups: Set[str]) -> Gemma4Model:
    """A model with the result's tensors in these groups and the source's in all others.

    What the result lacks (the towers of a text model) the mixed model lacks too.
    """
    model: Gemma4Model = _mixed(source, result, "", lambda path: group_of(path).name in groups)
    model.config = result.config
    return model


def _mixed(ours: Any, theirs: Any, path: str, takes: Callable[[str], bool]) -> Any:
    if isinstance(ours, nn.Module):
        if "weight" in ours and group_of(f"{path}.weight") != UNPACKED:
            # A layer goes with its scales and bias, whatever these are called.
            return theirs if takes(f"{path}.weight") else ours
        shell = copy.copy(ours)
        for name, child in ours.items():
            if name not in theirs:
                del shell[name]
                continue
            shell[name] = _mixed(child, theirs[name], f"{path}.{name}".lstrip("."), takes)
        return shell
    if isinstance(ours, list):
        return [
            _mixed(child, other, f"{path}.{index}", takes)
            for index, (child, other) in enumerate(zip(ours, theirs, strict=True))
        ]
    return theirs if isinstance(ours, mx.array) and takes(path) else ours
