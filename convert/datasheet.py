"""Everything that ``gemma4 info`` tells of a model: what it is made of and what it takes.

Worked out without loading it, from the headers of its files; from its config.json where the files
are not at hand; and from the released config.json where the model is not downloaded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma4_convert.estimate import inventory_of_config
from gemma4_convert.inventory import Inventory, inventory_of_files
from gemma4_mlx.anatomy import Anatomy, anatomy
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import HubError
from gemma4_mlx.hub import ALIASES, hub_name
from gemma4_mlx.json_files import read_json
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.loading.find import find_checkpoint
from gemma4_mlx.memory import Room, contexts, keeps_table_in_memory, kv_cache_bytes, room
from gemma4_mlx.released import released_config


@dataclass(frozen=True)
class Memory:
    """Bytes in use: the decoder with what stays in memory beside it, the towers, the cache.

    The per-layer table is in ``decoder`` when ``table_in_memory``, and else on flash. ``cache``
    has the key-value cache by context length. Activations are not in here.
    """

    decoder: int
    towers: int
    table: int
    table_in_memory: bool
    cache: dict[int, int]
    room: Room

    def in_use(self, context: int, *, towers: bool) -> int:
        """Everything at this context, with the towers' weights or for text alone."""
        return self.decoder + self.cache[context] + (self.towers if towers else 0)

    def longest(self, *, towers: bool) -> int | None:
        """The longest of the contexts that fits this machine, None if not even the first does."""
        fitting = [
            tokens
            for tokens in self.cache
            if self.in_use(tokens, towers=towers) <= self.room.nbytes
        ]
        return max(fitting, default=None)


@dataclass(frozen=True)
class Datasheet:
    """A model as far as it is at hand.

    ``path`` is None where it is not downloaded. ``measured`` says that sizes were read from its
    files, rather than worked out from config.json.
    """

    name: str
    path: Path | None
    inventory: Inventory
    measured: bool

    @property
    def parameters(self) -> Anatomy:
        """The parameters by component, as its files have them."""
        return anatomy(self.inventory.config, borrowed=self.inventory.has_borrowed)

    @property
    def memory(self) -> Memory:
        """What it takes in memory on this machine."""
        return _memory(self.inventory)

    def as_json(self) -> dict[str, Any]:
        """All figures, sizes in bytes."""
        return _figures(self)


def datasheet(name: str) -> Datasheet:
    """Look up a directory, a hub id, an alias or "demo" on this machine; downloads nothing.

    Raises CheckpointError for damaged files and other models, HubError for a hub model that is
    neither downloaded nor one of the released ones.
    """
    try:
        path = find_checkpoint(name, download=False)
    except HubError:
        alias = next((alias for alias, hub_id in ALIASES.items() if hub_id == hub_name(name)), None)
        if alias is None:
            raise
        raw = released_config(alias)
        inventory = inventory_of_config(raw, Gemma4Config.from_dict(raw), has_borrowed=True)
        return Datasheet(ALIASES[alias], None, inventory, measured=False)

    raw = read_json(path / "config.json")
    config = Gemma4Config.from_dict(raw)
    if any(path.glob("*.safetensors")) or (path / "model.safetensors.index.json").exists():
        return Datasheet(name, path, inventory_of_files(path, config), measured=True)
    has_borrowed = config.quantization is None  # conversions leave them out
    inventory = inventory_of_config(raw, config, has_borrowed=has_borrowed)
    return Datasheet(name, path, inventory, measured=False)


def _memory(inventory: Inventory) -> Memory:
    text = inventory.config.text
    table = inventory.table_bytes
    in_memory = keeps_table_in_memory(table)
    everything = sum(tensor.nbytes for tensor in inventory.tensors)
    decoder = inventory.nbytes("language_model.")
    return Memory(
        decoder=decoder if in_memory else decoder - table,
        towers=everything - decoder,
        table=table,
        table_in_memory=in_memory,
        cache={
            tokens: kv_cache_bytes(text, tokens, itemsize=inventory.itemsize)
            for tokens in contexts(text)
        },
        room=room(),
    )


def _figures(sheet: Datasheet) -> dict[str, Any]:
    inventory, parameters, use = sheet.inventory, sheet.parameters, sheet.memory
    return {
        "model": sheet.name,
        "path": None if sheet.path is None else str(sheet.path),
        "sizes_from": "files" if sheet.measured else "config.json",
        "layers": [
            {
                "kind": row.kind,
                "heads": row.num_heads,
                "kv_heads": row.num_kv_heads,
                "head_dim": row.head_dim,
                "window": row.window,
                "keys_are_values": row.k_eq_v,
                "kv_from": row.kv_donor,
                "mlp_width": row.mlp_width,
                "experts": row.has_experts,
            }
            for row in plan_layers(inventory.config.text)
        ],
        "parameters": {
            "total": parameters.total,
            "decoder": parameters.decoder,
            "effective": parameters.effective,
            "active": parameters.active,
            "components": dict(parameters.components),
            "borrowed": parameters.borrowed,
            "clip_bounds": parameters.clip_bounds,
        },
        "groups": [
            {
                "name": total.name,
                "tensors": total.tensors,
                "parameters": total.parameters,
                "bytes": total.nbytes,
                "bits": round(total.bits, 3),
                "packings": list(total.packings),
            }
            for total in inventory.groups()
        ],
        "file_bytes": inventory.file_bytes,
        "unused_bytes": inventory.unused_bytes,
        "missing": list(inventory.missing),
        "unexpected": list(inventory.unexpected),
        "memory": {
            "decoder": use.decoder,
            "towers": use.towers,
            "per_layer_table": use.table,
            "per_layer_table_in_memory": use.table_in_memory,
            "contexts": [
                {
                    "tokens": tokens,
                    "kv_cache": cache,
                    "text": use.in_use(tokens, towers=False),
                    "with_towers": use.in_use(tokens, towers=True),
                }
                for tokens, cache in use.cache.items()
            ],
            "room": use.room.nbytes,
            "room_is": use.room.kind,
            "fits_text_to": use.longest(towers=False),
            "fits_with_towers_to": use.longest(towers=True),
        },
    }
