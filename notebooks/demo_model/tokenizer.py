"""The demo model's tokenizer: built as Gemma's is, with a thousand tokens.

Byte-pair encoding over the whole text with "▁" for a space, no pre-splitting at inference, bytes
for everything the vocabulary lacks, and all of Gemma 4's control tokens (under other ids). Merges
are learned within words, so that "one two" stays two tokens however often it is seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

import prompts
from scenes import COLOURS, SHAPES
from speech import WORDS

VOCAB_SIZE = 1024
CONTROL = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool>", "<tool|>", "<|tool_call>",
    "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|think|>", "<|channel>",
    "<channel|>", "<|turn>", "<turn|>", "<|image>", "<|audio>", "<|image|>", "<|audio|>",
    "<image|>", "<audio|>", "<|video|>",
)  # fmt: skip
# Asked for in the app, and therefore worth whole words; it cannot be answered by this model.
_OTHER_PROMPTS = (
    "Transcribe the following speech segment in English, then translate it into German.",
    "When formatting the answer, first output the transcription in English, then one newline, "
    "then output the string 'German: ', then the translation in German.",
)
_PROTOCOL = (
    "user\n", "model\n", "system\n", "thought\n", "declaration:", "response:", "call:",
    "get_weather{city:", "description:", "parameters:", "properties:", "required:", "type:",
    "STRING", "OBJECT", "value:", "The weather in Paris is sunny, 21 degrees.",
)  # fmt: skip


def corpus() -> Iterator[str]:
    """What the merges are learned from; frequent things are repeated to become single tokens."""
    for word in (*WORDS, *COLOURS, *SHAPES):
        yield from [word, f" {word}"] * 200
    yield from ["▁", "\n", "\n\n", " a", " and", ",", "."] * 100
    yield from _PROTOCOL * 60
    official = (prompts.TRANSCRIBE_ENGLISH, prompts.TRANSCRIBE_ANY, *_OTHER_PROMPTS)
    yield from official * 20
    yield from (*prompts.TRANSCRIBE_FREELY, *prompts.LOOK, *prompts.SYSTEM) * 10
    known = prompts.read_questions()
    for question in known.questions:
        yield from (question.answer, question.thought) * 6
        yield from question.ask * 6
    yield from (known.unknown.answer, known.unknown.thought) * 10
    yield from known.unknown.ask
    yield from (f" {city}" for city in prompts.CITIES * 8)
    yield from (f" {sky}" for sky in prompts.SKIES * 8)
    yield from (ask.format("Paris") for ask in prompts.ASK_WEATHER * 8)


def build() -> Tokenizer:
    """Learn the merges and lay the vocabulary out: control tokens, bytes, characters, merges."""
    alphabet = [chr(c) for c in range(0x21, 0x7F)] + ["▁", "\n", "×", "í", "…", "’", "—"]
    fixed = len(CONTROL) + 256
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"\n+|\p{N}|▁?\p{L}+|▁+|[^\p{L}\p{N}▁\n]"), "isolated"
    )
    learner.train_from_iterator(
        corpus(),
        BpeTrainer(vocab_size=VOCAB_SIZE - fixed, initial_alphabet=alphabet, show_progress=False),
    )
    learned = json.loads(learner.to_str())["model"]
    tokens = [
        *CONTROL,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *sorted(learned["vocab"], key=learned["vocab"].get),
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[tuple(pair) for pair in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
            ignore_merges=False,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in CONTROL]
    )
    return tokenizer


def control_ids(tokenizer: Tokenizer) -> dict[str, int]:
    ids = {token: tokenizer.token_to_id(token) for token in CONTROL}
    return {token: number for token, number in ids.items() if number is not None}


def check(tokenizer: Tokenizer) -> None:
    """The properties that training relies on."""
    for word in WORDS:
        for text in (word, f" {word}"):
            if len(tokenizer.encode(text).ids) != 1:
                raise ValueError(f"{text!r} is not one token")
    sequence = " ".join(WORDS)
    if len(tokenizer.encode(sequence).ids) != len(WORDS):
        raise ValueError("a sequence of digits is not one token a word")
    for text in (sequence, "Grüße, 世界! 🚀\n\ttabs  and   spaces", "\x00\x7f é́"):
        if tokenizer.decode(tokenizer.encode(text).ids) != text:
            raise ValueError(f"{text!r} does not survive encoding")
    crossing = re.compile(r".+▁")
    if wrong := [token for token in tokenizer.get_vocab() if crossing.fullmatch(token.strip("▁"))]:
        raise ValueError(f"tokens cross words: {wrong}")
