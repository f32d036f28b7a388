"""What the hub's cache holds: kinds, sizes, what is whole, and how it is removed."""

import json

import pytest

from gemma4_mlx import HubError
from gemma4_mlx.hub import ALIASES, cached_model, cached_models, hub_name, remove
from gemma4_mlx.loading.find import _alternatives, find_checkpoint
from gemma4_mlx.released import released_config
from tests.hub_cache import HubCache
from tests.reference.families import raw_config

LLAMA = {"model_type": "llama", "hidden_size": 4096, "torch_dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("e2b", ALIASES["e2b"]),
        ("E2B", ALIASES["e2b"]),
        ("someone/a-model_4.bit", "someone/a-model_4.bit"),
        *((name, None) for name in ("demo", "", "./here", "../x", "/a/b", "~/b", "a/b/c", "a b/c")),
    ],
)
def test_names(name: str, hub_id: str | None) -> None:
    assert hub_name(name) == hub_id


def test_an_empty_cache_and_none(hub_cache: HubCache) -> None:
    assert cached_models() == [] and cached_model("a/b") is None
    hub_cache.folder.rmdir()
    assert cached_models() == []


@pytest.mark.parametrize(
    ("alias", "kind"), [("e2b", "E2B"), ("e4b", "E4B"), ("26b", "26B A4B"), ("31b", "31B")]
)
def test_the_released_models(hub_cache: HubCache, alias: str, kind: str) -> None:
    hub_cache.add_model(ALIASES[alias], released_config(alias), weights=5000)
    (model,) = cached_models()
    assert (model.hub_id, model.kind, model.weights) == (ALIASES[alias], kind, "bf16")
    assert model.is_gemma4 and model.is_complete and model.is_runnable
    assert model.size > 5000
    assert model == cached_model(ALIASES[alias])


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({"quantization": {"bits": 4, "group_size": 64}}, "4 bit"),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}, "4 bit mxfp4"),
        ({"quantization": {"bits": 4, "a.b": {"bits": 8}, "c": False}}, "4/8 bit"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"dtype": None, "text_config": {"torch_dtype": "float16"}}, "fp16"),
        ({"dtype": "int8", "text_config": {}}, None),
    ],
)
def test_how_weights_are_kept(
    hub_cache: HubCache, changes: dict[str, object], weights: str | None
) -> None:
    hub_cache.add_model("a/b", raw_config("e2b") | changes)
    assert cached_models()[0].weights == weights


@pytest.mark.parametrize(
    ("model_type", "kind"), [("gemma4_unified", "12B"), ("gemma4_assistant", "assistant")]
)
def test_gemma_4_that_does_not_run_here(hub_cache: HubCache, model_type: str, kind: str) -> None:
    hub_cache.add_model("google/x", {"model_type": model_type})
    (model,) = cached_models()
    assert model.is_gemma4 and not model.is_runnable and model.kind == kind


def test_what_is_not_gemma_4(hub_cache: HubCache) -> None:
    """The config counts, not the name; and only models, no data sets."""
    hub_cache.add_model("someone/gemma-4-lookalike", LLAMA)
    hub_cache.add_model("someone/mine", raw_config("31b"))
    (hub_cache.folder / "datasets--a--b" / "snapshots").mkdir(parents=True)
    (hub_cache.folder / "models--a--file").touch()
    assert [(m.hub_id, m.is_gemma4) for m in cached_models()] == [
        ("someone/gemma-4-lookalike", False),
        ("someone/mine", True),
    ]
    assert _alternatives() == "; available now: someone/mine, demo"


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"\xff", None, b'{"model_type": []}'])
def test_a_config_that_tells_nothing(hub_cache: HubCache, config: bytes | None) -> None:
    files = {"model.safetensors": b"0"} | ({} if config is None else {"config.json": config})
    hub_cache.add("google/gemma-4-x", files)
    (model,) = cached_models()
    assert model.is_gemma4 == (config != b'{"model_type": []}')
    assert model.kind is None and model.weights is None and not model.is_complete


@pytest.mark.parametrize("text_config", [3, [], {}, {"hidden_size": [1], "num_hidden_layers": 2}])
def test_a_config_of_no_known_size(hub_cache: HubCache, text_config: object) -> None:
    hub_cache.add_model("a/b", {"model_type": "gemma4", "text_config": text_config})
    assert cached_models()[0].kind is None


def test_what_broke_off(hub_cache: HubCache) -> None:
    """In the first file, in a shard, in the tokenizer: it is listed, with its size, as partial."""
    blobs = hub_cache.repository("google/gemma-4-begun") / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "0123.incomplete").write_bytes(bytes(12_345))
    config = json.dumps(raw_config("e2b")).encode()
    index = json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}).encode()
    shards = {"config.json": config, "tokenizer.json": b"{}", "1.safetensors": b"1"}
    hub_cache.add("google/shards", shards | {"model.safetensors.index.json": index})
    hub_cache.add("google/index", shards | {"model.safetensors.index.json": b"{"})
    hub_cache.add("google/tokenizer", {"config.json": config, "model.safetensors": b"1"})
    hub_cache.add("google/weights", {"config.json": config, "tokenizer.json": b"{}"})

    found = {model.hub_id: model for model in cached_models()}
    assert len(found) == 5 and not any(model.is_complete for model in found.values())
    begun = found["google/gemma-4-begun"]
    assert begun.is_gemma4 and begun.size == 12_345 and begun.snapshot is None


def test_main_is_what_counts(hub_cache: HubCache) -> None:
    first = hub_cache.add_model("a/b", raw_config("e2b"))
    hub_cache.add("a/b", {"config.json": b"{}"}, "d" * 40, main=False)
    (model,) = cached_models()
    assert model.snapshot == first and model.is_complete
    (hub_cache.repository("a/b") / "refs" / "main").unlink()
    assert cached_models()[0].snapshot is not None, "another revision is better than none"


def test_remove(hub_cache: HubCache) -> None:
    """All revisions go, a download broken off too; other models stay, also with the same commit."""
    hub_cache.add_model("a/b", raw_config("e2b"), weights=9000)
    hub_cache.add("a/b", {"more": b"0" * 500}, "d" * 40, main=False)
    (hub_cache.repository("a/b") / "blobs" / "01.incomplete").write_bytes(bytes(700))
    hub_cache.add_model("a/c", raw_config("31b"))
    model = cached_model("a/b")
    assert model is not None and remove(model) == model.size > 9000 + 500 + 700
    assert not hub_cache.repository("a/b").exists()
    assert [model.hub_id for model in cached_models()] == ["a/c"]


def test_remove_what_the_library_does_not_recognise(hub_cache: HubCache) -> None:
    folder = hub_cache.repository("a/b")
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "01.incomplete").write_bytes(bytes(700))
    model = cached_model("a/b")
    assert model is not None and remove(model) == 700
    assert not folder.exists()


def test_remove_that_leaves_something(hub_cache: HubCache, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache.add("a/b", {"x": b"12345"})
    model = cached_model("a/b")
    monkeypatch.setattr("shutil.rmtree", lambda *_args, **_more: None)
    monkeypatch.setattr("huggingface_hub.utils._cache_manager._try_delete_path", lambda *_, **__: 0)
    assert model is not None
    with pytest.raises(HubError, match=r"could not be removed wholly, \d+ bytes are left"):
        remove(model)


def test_loading_takes_what_is_whole_in_the_cache(hub_cache: HubCache) -> None:
    from tests import goldens

    checkpoint = goldens.checkpoint("e2b")
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    files.pop("expected.safetensors")
    snapshot = hub_cache.add("a/b", files | {"tokenizer.json": b"{}"})
    assert find_checkpoint("a/b") == snapshot
    with pytest.raises(HubError, match=r"'a/c' is not in the local cache.*now: a/b, demo"):
        find_checkpoint("a/c")
