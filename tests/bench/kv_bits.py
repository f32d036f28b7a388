"""What the 8-bit cache of the global layers costs: the chance of every next token, against before.

The same tokens are decoded one by one over a plain cache and over a packed one, whatever either
would have chosen. Where p is the plain cache's distribution of the next token and q the packed
one's, the cost is the divergence KL(p ‖ q) in nats. Beside it, as a yardstick, what the dtype
itself costs: bfloat16 with a plain cache against float32 with a plain cache.

The demo model is trained, and is asked what it has learned: to write down a recording and to answer
its questions. The other models are random, of the released layers at a narrow width. Their norms
are of ones, so scores of attention between heads of 512 numbers spread over dozens, one key gets
all the weight, and a rounding may choose another one: in bfloat16 as in 8 bits. *Softened* are the
same models with a tenth of these scores.
"""

import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx import load, load_model
from gemma4_mlx.memory import kv_cache_bytes
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.speech.prompts import speech_prompt
from tests.bench import checkpoints
from tests.bench.measure import prompt

RECIPE = Path(__file__).parents[2] / "notebooks" / "demo_model"
FAMILIES = ("e2b", "26b", "31b")
PROMPT, REPLY = 512, 128
DTYPES = ("float32", "bfloat16")

# A prompt as the processor gives it, and the tokens decoded after it.
Dialogue = tuple[Mapping[str, Any], list[int]]


@dataclass(frozen=True)
class Cost:
    """Of one distribution in place of another, over so many next tokens: nats and a share."""

    tokens: int
    mean: float
    percentile_99: float
    same_choice: float


def section(families: Sequence[str], folder: Path) -> Iterator[str]:
    """Markdown: a row for every model and dtype."""
    yield (
        "| model | dtype | tokens | KL, mean | KL, 99 % of tokens below | same first choice "
        "| bytes a token, plain | packed | ratio |"
    )
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    yield from _rows("demo", lambda dtype: load_model("demo", dtype=dtype), demo_dialogues())
    for family in families:
        if family not in FAMILIES:
            continue
        with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as name:
            path = Path(name) / family
            checkpoints.make(family, path, "narrow", "float32")
            dialogues = [random_dialogue(load_model(path))]
            for softened in (False, True):

                def loaded(dtype: str, softened: bool = softened, path: Path = path) -> Gemma4Model:
                    model = load_model(path, dtype=dtype)
                    if softened:
                        soften(model)
                    return model

                title = f"{family} narrow, random" + (", softened" if softened else "")
                yield from _rows(title, loaded, dialogues)


def _rows(
    title: str, loaded: Callable[[str], Gemma4Model], dialogues: Sequence[Dialogue]
) -> Iterator[str]:
    exact: np.ndarray | None = None
    for dtype in DTYPES:
        print(f"kv-bits: {title}, {dtype}", file=sys.stderr)
        model = loaded(dtype)
        plain, packed = (log_chances(model, dialogues, bits) for bits in (None, 8))
        before, after = (bytes_a_token(model, dtype, bits) for bits in (None, 8))
        kept = f"{before:,} | {after:,} | {after / before:.3f}"
        yield f"| {title} | {dtype} | {_cells(cost(plain, packed))} | {kept} |"
        if exact is None:
            exact = plain
        else:
            yield f"| | {dtype} for float32 | {_cells(cost(exact, plain))} | | | |"


def _cells(found: Cost) -> str:
    return (
        f"{found.tokens:,} | {found.mean:.1e} | {found.percentile_99:.1e} | "
        f"{100 * found.same_choice:.1f} %"
    )


def cost(plain: np.ndarray, packed: np.ndarray) -> Cost:
    """Of log chances (tokens, V) in place of others."""
    divergence = (np.exp(plain) * (plain - packed)).sum(axis=-1)
    same = plain.argmax(axis=-1) == packed.argmax(axis=-1)
    return Cost(
        len(plain), float(divergence.mean()), float(np.quantile(divergence, 0.99)),
        float(same.mean()),
    )  # fmt: skip


def log_chances(
    model: Gemma4Model, dialogues: Sequence[Dialogue], kv_bits: int | None
) -> np.ndarray:
    """Log chances (tokens, V) of what follows each prompt and each token decoded after it."""
    rows = []
    for inputs, reply in dialogues:
        cache = model.make_cache(kv_bits)
        logits = [model(**inputs, cache=cache, logits_to_keep=1)[0, -1]]
        for token in reply:
            logits.append(model(mx.array([[token]]), cache=cache)[0, -1])
            mx.eval(logits[-1], cache.arrays())
        rows += [np.array(row.astype(mx.float32), dtype=np.float64) for row in logits]
    values = np.stack(rows)
    values -= values.max(axis=-1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def bytes_a_token(model: Gemma4Model, dtype: str, kv_bits: int | None) -> int:
    """What the global layers keep for every further token; tests hold what is allocated to it."""
    itemsize = 4 if dtype == "float32" else 2
    grown, start = (
        kv_cache_bytes(model.config.text, context, itemsize=itemsize, kv_bits=kv_bits)
        for context in (16384, 8192)
    )
    return (grown - start) // 8192


def demo_dialogues(recordings: int = 4) -> list[Dialogue]:
    """A recording of many digits with what is said in it, and questions with their answers."""
    import soundfile

    processor = load("demo")[1]
    samples, rate = soundfile.read(RECIPE / "digits.wav", dtype="float32")
    said = (RECIPE / "digits.txt").read_text().strip()
    heard = [
        {"type": "audio", "audio": np.tile(samples, recordings)},
        {"type": "text", "text": speech_prompt()},
    ]
    assert rate == processor.sampling_rate, rate
    told = [(heard, " ".join([said] * recordings))]
    asked = tomllib.loads((RECIPE / "questions.toml").read_text(encoding="utf-8"))["question"]
    told += [(question["ask"][0], question["answer"]) for question in asked if "ask" in question]
    end = processor.tokenizer.token_id("<turn|>")
    return [
        (
            processor([{"role": "user", "content": content}]),
            [*processor.tokenizer.encode_text(answer), end],
        )
        for content, answer in told
    ]


def random_dialogue(model: Gemma4Model) -> Dialogue:
    """Random ids of this model's vocabulary."""
    ids = prompt(PROMPT + REPLY, model.config.text.vocab_size)
    return {"input_ids": mx.array([ids[:PROMPT]])}, ids[PROMPT : PROMPT + REPLY]


def soften(model: Gemma4Model) -> None:
    """A tenth of the scores of attention."""
    for layer in model.language_model.layers:
        layer.self_attn.q_norm.weight = layer.self_attn.q_norm.weight * 0.1
