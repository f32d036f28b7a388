"""A Hugging Face checkpoint, or an unquantized MLX one, becomes an MLX checkpoint.

Tensors get our names and layouts by the loader's own table, are quantized by the policy, renamed
as mlx-vlm names them and written in shards; config.json says how each was packed. The files that
belong to the model (tokenizer, template, processor, generation defaults) come along.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import mlx.core as mx

from gemma4_convert.layout import mlx_config, mlx_name
from gemma4_convert.policy import Quantization, is_matrix, quantization_of
from gemma4_convert.writing import ShardWriter, new_directory, write_json
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.json_files import read_json
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.loading.rename import in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from gemma4_mlx.loading.weights import load_weights

COMPANIONS = (
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
DTYPES = {"bfloat16": mx.bfloat16, "float16": mx.float16, "float32": mx.float32}


def convert(
    source: Path,
    dest: Path,
    *,
    bits: int | None,
    group_size: int = 64,
    mode: str = "affine",
    dtype: str | None = None,
) -> None:
    """Convert the checkpoint directory ``source`` into the new directory ``dest``.

    ``bits`` None quantizes nothing. ``dtype`` ("bfloat16", "float16", "float32") is that of what
    is not quantized; None keeps the source's. Where a width does not suit ``group_size``, the
    module is packed in groups of 32 or kept, and config.json records it.

    Raises CheckpointError when the source is damaged, of another model or already quantized, and
    InputError for bits and groups that do not exist, an unknown dtype, or a ``dest`` that exists.
    """
    asked = None if bits is None else Quantization(bits, group_size, mode)
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} is unknown, use one of {', '.join(DTYPES)}")
    raw = read_json(source / "config.json")
    # Reads headers alone, and tells of every tensor that is missing or misshapen.
    if load_weights(source).config.quantization is not None:
        raise CheckpointError(
            f"{source} is quantized already: convert the checkpoint it was made from"
        )

    with new_directory(dest) as directory:
        writer = ShardWriter(directory)
        overrides: dict[str, Any] = {}
        for path, tensor in source_tensors(source):
            if dtype is not None and mx.issubdtype(tensor.dtype, mx.floating):
                tensor = tensor.astype(DTYPES[dtype])
            name = mlx_name(path)
            chosen = quantization_of(path, tensor.shape, asked)
            if chosen is None:
                writer.add({name: tensor})
            else:
                writer.add(quantized(name, tensor, chosen))
            if asked is not None and chosen != asked and is_matrix(path, tensor.shape):
                module = name.removesuffix(".weight")
                overrides[module] = False if chosen is None else chosen.as_config()
        writer.finish()
        quantization = None if asked is None else {**asked.as_config(), **overrides}
        write_json(directory / "config.json", mlx_config(raw, quantization, dtype))
        for companion in COMPANIONS:
            if (source / companion).is_file():
                shutil.copyfile(source / companion, directory / companion)


def source_tensors(source: Path) -> Iterator[tuple[str, mx.array]]:
    """Every tensor that our modules use, under its path there, in our layout, not yet read."""
    plan = plan_layers(Gemma4Config.from_dir(source).text)
    infos = checkpoint_tensors(source)
    for file in sorted({info.file for info in infos.values()}):
        tensors = cast(dict[str, mx.array], mx.load(str(file)))
        for name in sorted(name for name, info in infos.items() if info.file == file):
            # Taken out of the dict: once written, a tensor must not stay in memory.
            tensor = tensors.pop(name)
            path = module_path(name)
            if not is_dropped(path, plan):
                yield from in_our_layout(path, tensor).items()


def quantized(name: str, weight: mx.array, how: Quantization) -> dict[str, mx.array]:
    """``….weight`` packed: the tensors weight, scales and, in affine mode, biases."""
    packed = mx.quantize(weight, how.group_size, how.bits, mode=how.mode)
    base = name.removesuffix("weight")
    parts = ("weight", "scales", "biases")[: len(packed)]
    return {base + part: tensor for part, tensor in zip(parts, packed, strict=True)}
