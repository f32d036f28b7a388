"""However a prompt is cut into calls, the logits are those of one pass.

The prompts are several windows long, so that the cuts fall before, inside and behind the
sliding window; pictures and recordings go with the call that holds their placeholders.
"""

from functools import cache

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.model import Gemma4Model
from tests import goldens
from tests.reference import families, ours
from tests.reference.inputs import PromptBuilder, make_case

TOLERANCE = 1e-4


@cache
def model_of(family: str) -> Gemma4Model:
    return ours.load_float32(goldens.checkpoint(family))


def text_prompt(family: str, length: int = 61) -> dict[str, np.ndarray]:
    return PromptBuilder(goldens.config(family), seed=5).text(length - 1).build()


def sizes_of(cutting: str, family: str) -> list[int]:
    window = goldens.config(family)["text_config"]["sliding_window"]
    if cutting == "window":
        return [window] * 99
    if cutting == "window+1":
        return [window + 1] * 99
    if cutting == "window-1":
        return [window - 1] * 99
    if cutting.startswith("random"):
        random = np.random.RandomState(int(cutting.removeprefix("random")))
        return random.randint(1, 2 * window, size=99).tolist()
    return [int(cutting)] * 99


CUTTINGS = ["1", "3", "7", "window-1", "window", "window+1", "random1", "random2", "random3"]


@pytest.mark.parametrize("cutting", CUTTINGS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_text_in_chunks(family, cutting) -> None:
    model, prompt = model_of(family), text_prompt(family)
    chunked = ours.chunked_logits(model, prompt, sizes_of(cutting, family))
    assert ours.difference(chunked, ours.logits(model, prompt)) <= TOLERANCE


@pytest.mark.parametrize("cutting", CUTTINGS)
@pytest.mark.parametrize("family,case", [pair for pair in goldens.CASES if pair[1] != "text"])
def test_media_in_chunks(family, case, cutting) -> None:
    model, prompt = model_of(family), goldens.inputs(family, case)
    chunked = ours.chunked_logits(model, prompt, sizes_of(cutting, family))
    assert ours.difference(chunked, ours.logits(model, prompt)) <= TOLERANCE


@pytest.mark.parametrize("family", families.FAMILIES)
def test_long_chunk_after_single_tokens(family) -> None:
    """A chunk of several windows onto a ring that single tokens have filled and wrapped."""
    model, prompt = model_of(family), text_prompt(family)
    chunked = ours.chunked_logits(model, prompt, [1] * 27 + [30, 1, 1])
    assert ours.difference(chunked, ours.logits(model, prompt)) <= TOLERANCE


@pytest.mark.parametrize("family", families.BIG)
@pytest.mark.parametrize("inside", [1, 7, 29])
def test_cutting_an_image_block_is_refused(family, inside) -> None:
    """Its tokens must see each other, so a call that begins inside one cannot be right."""
    model, prompt = model_of(family), goldens.inputs(family, "long image")
    first = int(np.argmax(prompt["mm_token_type_ids"][0] == 1))
    ids, types = ours.to_mlx(prompt)["input_ids"], ours.to_mlx(prompt)["mm_token_type_ids"]
    at = first + inside
    cache = model.make_cache()
    media = {key: value for key, value in ours.to_mlx(prompt).items() if key.startswith("pixel")}
    media["image_position_ids"] = ours.to_mlx(prompt)["image_position_ids"]
    with pytest.raises(InputError):
        model(ids[:, :at], mm_token_type_ids=types[:, :at], cache=cache, **media)
        model(ids[:, at:], mm_token_type_ids=types[:, at:], cache=cache)


@pytest.mark.parametrize("family", families.BIG)
def test_cut_image_block_message(family) -> None:
    """Two pictures that touch are one block; each fits its call, and still the cut is refused."""
    model, prompt = model_of(family), goldens.inputs(family, "adjacent images")
    types = prompt["mm_token_type_ids"][0]
    border = int(np.argmax(types == 1)) + 3  # the first picture has three tokens
    first, second = ours.cut(prompt, [border])
    cache = model.make_cache()
    model(**ours.to_mlx(first), cache=cache)
    with pytest.raises(InputError, match="image") as caught:
        model(**ours.to_mlx(second), cache=cache)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", [1, 3, 8, 13, 2048])
@pytest.mark.parametrize("family,case", goldens.CASES)
def test_prefill_steps_give_the_same_greedy_tokens(family, case, step) -> None:
    """The loop moves its borders to the edges of image blocks, so no step size changes a token."""
    tokens = goldens.greedy(family, case)[:24]
    prompt = goldens.inputs(family, case)
    assert ours.greedy_through_loop(model_of(family), prompt, 24, step) == [tokens]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_loop_gives_64_tokens_across_the_window(family) -> None:
    prompt = goldens.inputs(family, "mixed")
    found = ours.greedy_through_loop(model_of(family), prompt, goldens.GREEDY_TOKENS, 16)
    assert found == [goldens.greedy(family, "mixed")]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_loop_leaves_the_cache_with_everything(family) -> None:
    """Prompt and yielded tokens are in the cache: a second turn goes on from there."""
    from gemma4_mlx.generation.loop import generate_tokens

    model, prompt = model_of(family), text_prompt(family, 30)
    cache = model.make_cache()
    steps = generate_tokens(
        model,
        ours.to_mlx(prompt),
        cache,
        lambda logits: mx.argmax(logits, axis=-1),
        max_tokens=9,
        prefill_step_size=8,
    )
    tokens = [row[0] for row in steps]
    assert len(tokens) == 9
    held = tokens[: cache.offset - 30]
    assert len(held) in (8, 9)  # the last token need not have been run through the model yet
    more = np.array(model(mx.array([[11, 12]]), cache=cache))
    whole = np.concatenate([prompt["input_ids"][0], held, [11, 12]])[None]
    assert ours.difference(more, np.array(model(mx.array(whole)))[:, -2:]) <= TOLERANCE


@pytest.mark.parametrize("tokens_before", [0, 1, 5, 20, 40])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_snapshot_rewinds_exactly(family, tokens_before) -> None:
    model, prompt = model_of(family), ours.to_mlx(text_prompt(family))["input_ids"]
    cache = model.make_cache()
    if tokens_before:
        model(prompt[:, :tokens_before], cache=cache)
    snapshot = cache.snapshot()

    def go_on(ids: mx.array) -> list[np.ndarray]:
        found = [np.array(model(ids[:, :7], cache=cache))]
        found += [np.array(model(ids[:, i : i + 1], cache=cache)) for i in range(7, 20)]
        return found

    rest = prompt[:, tokens_before:]
    first = go_on(rest)
    after = cache.offset
    cache.restore(snapshot)
    assert cache.offset == tokens_before
    other = go_on(117 - rest % 100)  # another continuation, which must leave no trace
    cache.restore(snapshot)
    again = go_on(rest)
    assert cache.offset == after
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1])


@pytest.mark.parametrize("family", families.FAMILIES)
def test_snapshots_nest(family) -> None:
    """Back to the later snapshot, then to the earlier one."""
    model, prompt = model_of(family), ours.to_mlx(text_prompt(family))["input_ids"]
    expected = np.array(model(prompt))
    cache = model.make_cache()
    model(prompt[:, :10], cache=cache)
    early = cache.snapshot()
    model(prompt[:, 10:33], cache=cache)
    late = cache.snapshot()
    model(prompt[:, 33:50], cache=cache)
    cache.restore(late)
    found = np.array(model(prompt[:, 33:], cache=cache))
    assert ours.difference(found, expected[:, 33:]) <= TOLERANCE
    cache.restore(early)
    found = np.array(model(prompt[:, 10:], cache=cache))
    assert ours.difference(found, expected[:, 10:]) <= TOLERANCE


@pytest.mark.parametrize("family", families.FAMILIES)
def test_local_layers_hold_no_more_than_the_window(family) -> None:
    """Once every ring is full only the global layers grow, by what their keys and values take."""
    model = model_of(family)
    cache = model.make_cache()
    sizes = []
    for length in (256, 256):
        ids = np.random.RandomState(3).randint(10, 110, size=(1, length))
        mx.eval(model(mx.array(ids), cache=cache, logits_to_keep=1))
        sizes.append(cache.nbytes)
    text = goldens.config(family)["text_config"]
    owners = [row for row in model.plan if row.kv_donor is None]
    dims = sum(row.num_kv_heads * row.head_dim for row in owners if row.is_global)
    assert sizes[1] - sizes[0] <= 256 * dims * 2 * 4
    local = sum(row.num_kv_heads * row.head_dim for row in owners if not row.is_global)
    bound = 4 * 2 * (512 * dims + text["sliding_window"] * local)
    assert sizes[1] <= bound


@pytest.mark.parametrize("keep", [1, 2, 13, 999])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_to_keep(family, keep) -> None:
    model, prompt = model_of(family), make_case(goldens.config(family), "mixed", 77)
    whole = ours.logits(model, prompt)
    kept = np.array(model(**ours.to_mlx(prompt), logits_to_keep=keep))
    assert kept.shape == (1, min(keep, whole.shape[1]), whole.shape[2])
    assert ours.difference(kept, whole[:, -keep:]) <= TOLERANCE


@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_to_keep_zero_keeps_all(family) -> None:
    model, prompt = model_of(family), text_prompt(family)
    assert (
        ours.difference(
            np.array(model(**ours.to_mlx(prompt), logits_to_keep=0)), ours.logits(model, prompt)
        )
        <= TOLERANCE
    )


@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_to_keep_with_a_cache(family) -> None:
    model, prompt = model_of(family), ours.to_mlx(text_prompt(family))["input_ids"]
    expected = np.array(model(prompt))
    cache = model.make_cache()
    model(prompt[:, :19], cache=cache, logits_to_keep=1)
    kept = np.array(model(prompt[:, 19:], cache=cache, logits_to_keep=4))
    assert ours.difference(kept, expected[:, -4:]) <= TOLERANCE
