"""What is compared on: the right tokens count, and nothing is left out in silence."""

from pathlib import Path

import numpy as np
import pytest

from gemma4_convert.report import samples
from gemma4_convert.report.samples import Sample, make_samples, read_text
from gemma4_mlx import InputError
from gemma4_mlx.config import Modality
from gemma4_mlx.processing.processor import Processor
from tests.processing import tiny


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    return tiny.make_processor(tmp_path_factory.mktemp("processor"))


def ids(sample: Sample) -> list[int]:
    return np.array(sample.inputs["input_ids"])[0].tolist()


def test_a_text_counts_from_its_first_token(processor: Processor) -> None:
    (sample,) = samples.text_samples(processor, "the man")
    assert ids(sample)[0] == processor.tokenizer.token_id("<bos>")
    assert processor.tokenizer.decode(sample.targets.tolist()) == "the man"
    assert sample.modalities == frozenset()


def test_control_tokens_in_a_text_stay_text(processor: Processor) -> None:
    (sample,) = samples.text_samples(processor, "<turn|> and <|image|>")
    assert not set(sample.targets) & set(processor.tokenizer.control_tokens.values())


def test_a_long_text_goes_in_windows(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "WINDOW", 8)
    text = "x y z " * 5
    windows = list(samples.text_samples(processor, text))
    assert {len(ids(window)) for window in windows[:-1]} == {8}
    joined = [token for window in windows for token in window.targets.tolist()]
    assert processor.tokenizer.decode(joined) == text


def test_what_is_left_out_is_said(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_TOKENS", 10)
    found, notes = make_samples(processor, "x y z " * 5)
    assert sum(len(it.targets) for it in found if it.kind == "text") == 10
    assert notes == ["the text is not the bundled one: the first 10 of 30 tokens were given"]


def test_of_an_exchange_the_reply_counts(processor: Processor) -> None:
    found, notes = make_samples(processor, None)
    assert notes == []
    replies = {
        processor.tokenizer.decode(it.targets.tolist()): it
        for it in found
        if "<|turn>" in processor.tokenizer.decode(ids(it))
    }
    assert len(replies) == 7
    assert "Hello! How can I help you today?<turn|>" in replies
    digits = replies["zero eight seven four one nine<turn|>"]
    assert digits.kind == "recordings" and digits.modalities == {Modality.AUDIO}
    prompt = processor.tokenizer.decode(ids(digits)[: digits.first + 1])
    assert prompt.endswith("<|turn>model\n") and "Transcribe the following" in prompt
    for it in found:
        assert (len(ids(it)),) == it.inputs["mm_token_type_ids"].shape[1:]
        assert not set(it.targets) & set(processor.config.placeholders)


def test_only_what_the_model_can_take(tmp_path: Path) -> None:
    deaf = tiny.make_processor(tmp_path, audio=False)
    kinds = {it.kind for it in make_samples(deaf, None)[0]}
    assert kinds == {"text", "pictures"}


def test_the_bundled_text_has_some_length(processor: Processor) -> None:
    text = samples._data().joinpath("text.txt").read_text("utf-8")
    assert 350 <= len(text.split()) <= 600


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read"), (b"\xff\xfe\x00", "not text in UTF-8"), (b" \n", "is empty")],
)
def test_a_file_that_is_no_text(content: bytes | None, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_text(file)
    assert "\n" not in str(caught.value)


def test_a_file_of_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Grüße", encoding="utf-8")
    assert read_text(tmp_path / "text.txt") == "Grüße"
