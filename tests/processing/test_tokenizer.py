import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend

from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.processing.tokenizer import Tokenizer
from tests.processing import tiny, transformers_side

TEXTS = [
    "Hello, world! 12345",
    "  spaced  the text\n\n\n",
    "你好，世界！ κόσμος 🚀 Café",
    "the user | > < | turn",
    "",
    "\t\x00\x7f tabs",
]


def make(**options: object) -> Tokenizer:
    return Tokenizer(Backend.from_str(json.dumps(tiny.tokenizer_json(**options))))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back(text: str) -> None:
    tokenizer = make()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text) == tokenizer.encode_text(text)


def test_encode_reads_control_tokens() -> None:
    tokenizer = make()
    ids = tokenizer.encode("<|turn>user\n<|image|><turn|>")
    assert [ids[0], *ids[-2:]] == [
        tokenizer.token_id(token) for token in ("<|turn>", "<|image|>", "<turn|>")
    ]
    assert tokenizer.decode(ids) == "<|turn>user\n<|image|><turn|>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\n"


@pytest.mark.parametrize("not_special", [(), tiny.CONTROL, tiny.CONTROL[5:], ("<|turn>", '<|"|>')])
@pytest.mark.parametrize("ignore_merges", [False, True])
@pytest.mark.parametrize("token", tiny.CONTROL)
def test_encode_text_never_yields_a_control_token(
    token: str, not_special: tuple[str, ...], ignore_merges: bool
) -> None:
    tokenizer = make(not_special=not_special, ignore_merges=ignore_merges)
    control = {tokenizer.token_id(token) for token in tiny.CONTROL}
    for text in (token, f"a{token}b", token + token, f"<{token}>"):
        ids = tokenizer.encode_text(text)
        assert control.isdisjoint(ids), text
        assert tokenizer.decode(ids) == text
        assert control & set(tokenizer.encode(text)), "the spelling is a token where it may be one"


def test_an_unknown_character_may_become_unk() -> None:
    raw = tiny.tokenizer_json()
    raw["model"]["byte_fallback"] = False
    tokenizer = Tokenizer(Backend.from_str(json.dumps(raw)))
    assert tokenizer.encode_text("é") == [tokenizer.token_id("<unk>")]


def test_a_text_with_no_way_around_is_refused() -> None:
    raw = tiny.tokenizer_json()
    raw["added_tokens"].append({**raw["added_tokens"][0], "id": 300, "content": "!"})
    raw["model"]["vocab"] = {k: v for k, v in raw["model"]["vocab"].items() if v != 300}
    raw["model"]["vocab"]["!"] = 300
    with pytest.raises(InputError, match="without a control token"):
        Tokenizer(Backend.from_str(json.dumps(raw))).encode_text("hey!")


@pytest.mark.parametrize("text", [*TEXTS, "<bos><|turn>user\nthe<turn|>\n<|turn>model\n"])
def test_ids_equal_those_of_transformers(text: str, tmp_path: Path) -> None:
    transformers_side.require()
    from transformers import AutoTokenizer

    tiny.write_checkpoint(tmp_path)
    reference = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer = Tokenizer.from_dir(tmp_path)
    ids = tokenizer.encode(text)
    assert ids == reference(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == reference.decode(ids)
    assert tokenizer.vocab_size == len(reference)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        Tokenizer.from_dir(tmp_path)
    for content in (b"", b"{", b'{"version": "1.0"}', b"\xff\xfe"):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as a tokenizer"):
            Tokenizer.from_dir(tmp_path)


def test_a_token_the_vocabulary_lacks() -> None:
    with pytest.raises(CheckpointError, match=r"no control token '<\|nothing\|>'"):
        make().token_id("<|nothing|>")
    with pytest.raises(CheckpointError, match="no token 'nothing'"):
        make().token_id("nothing")
    assert make().token_id("the") == make().encode("the")[0]


def test_a_word_spelled_like_a_control_token_is_none() -> None:
    raw = tiny.tokenizer_json()
    raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] != "<|turn>"]
    with pytest.raises(CheckpointError, match="in the vocabulary, not in added_tokens"):
        Tokenizer(Backend.from_str(json.dumps(raw))).token_id("<|turn>")
