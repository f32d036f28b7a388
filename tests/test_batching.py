"""Left-padded batches equal single rows; what does not fit is refused with both numbers."""

from functools import cache

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.model import Gemma4Model
from tests import goldens
from tests.reference import families, ours
from tests.reference.inputs import Inputs, PromptBuilder, left_pad

TOLERANCE = 1e-3  # a row in a batch stands at other positions: its rotations round differently
STEPS = 14  # decode steps: further than every window, with the padding sliding out of it


@cache
def model_of(family: str) -> Gemma4Model:
    return ours.load_float32(goldens.checkpoint(family))


def row(family: str, seed: int = 3) -> PromptBuilder:
    return PromptBuilder(goldens.config(family), seed)


def text_rows(family: str) -> list[Inputs]:
    """Rows of very unequal length: the shortest is padded by several windows."""
    return [row(family, seed).text(count).build() for seed, count in enumerate((4, 45, 1, 22, 44))]


def media_rows(family: str) -> list[Inputs]:
    return [goldens.inputs(family, case) for name, case in goldens.CASES if name == family]


ROWS = {"text": text_rows, "media": media_rows}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_left_padded_batch_equals_single_rows(family, kind) -> None:
    model, rows = model_of(family), ROWS[kind](family)
    batch = ours.logits(model, left_pad(rows))
    for index, single in enumerate(rows):
        alone = ours.logits(model, single)[0]
        found = ours.real_tokens(batch, index, len(alone))
        assert ours.difference(found, alone) <= TOLERANCE, f"row {index}"


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_decode_steps_of_a_batch(family, kind) -> None:
    """Every row's logits stay those of the row alone while all go on token by token."""
    model, rows = model_of(family), ROWS[kind](family)
    steps = np.random.RandomState(9).randint(10, 110, size=(len(rows), STEPS))

    together = model.make_cache()
    batch = left_pad(rows)
    found = [np.array(model(**ours.to_mlx(batch), cache=together, logits_to_keep=1))]
    for step in range(STEPS):
        found.append(np.array(model(mx.array(steps[:, step : step + 1]), cache=together)))
    for index, single in enumerate(rows):
        alone = model.make_cache()
        expected = [np.array(model(**ours.to_mlx(single), cache=alone, logits_to_keep=1))]
        for step in range(STEPS):
            token = mx.array(steps[index : index + 1, step : step + 1])
            expected.append(np.array(model(token, cache=alone)))
        for step, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert ours.difference(a[index : index + 1], b) <= TOLERANCE, f"row {index} +{step}"


@pytest.mark.parametrize("family", families.FAMILIES)
def test_chunk_after_a_padded_prompt(family) -> None:
    """Several tokens at once onto the cache of a padded batch."""
    model, rows = model_of(family), text_rows(family)
    more = np.random.RandomState(4).randint(10, 110, size=(len(rows), 17))
    cache = model.make_cache()
    model(**ours.to_mlx(left_pad(rows)), cache=cache, logits_to_keep=1)
    found = np.array(model(mx.array(more), cache=cache))
    for index, single in enumerate(rows):
        whole = np.concatenate([single["input_ids"], more[index : index + 1]], axis=1)
        expected = np.array(model(mx.array(whole)))[:, -17:]
        assert ours.difference(found[index : index + 1], expected) <= TOLERANCE


@pytest.mark.parametrize("step", [5, 2048])
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_generation_loop_on_a_batch(family, kind, step) -> None:
    model, rows = model_of(family), ROWS[kind](family)
    found = ours.greedy_through_loop(model, left_pad(rows), 20, step)
    alone = [ours.greedy(model, single, 20)[0] for single in rows]
    assert found == alone


@pytest.mark.parametrize("family", families.FAMILIES)
def test_full_mask_changes_nothing(family) -> None:
    model, prompt = model_of(family), goldens.inputs(family, "mixed")
    assert prompt["attention_mask"].all()
    without = {name: value for name, value in prompt.items() if name != "attention_mask"}
    assert np.array_equal(ours.logits(model, prompt), ours.logits(model, without))


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param([1, 1, 1, 0, 1, 1], id="hole"),
        pytest.param([0, 1, 0, 1, 1, 1], id="hole behind padding"),
        pytest.param([1, 1, 1, 1, 1, 0], id="right padding"),
        pytest.param([0, 0, 0, 0, 0, 0], id="nothing"),
        pytest.param([1, 1, 1], id="too short"),
    ],
)
@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_other_masks_are_refused(family, mask) -> None:
    model = model_of(family)
    with pytest.raises(InputError, match="attention_mask") as caught:
        model(mx.array([[2, 11, 12, 13, 14, 15]]), attention_mask=mx.array([mask]))
    assert "\n" not in str(caught.value)


def changed(prompt: Inputs, old: int, new: int, count: int) -> Inputs:
    """The prompt with the first ``count`` ids ``old`` turned into ``new``."""
    ids = prompt["input_ids"].copy()
    places = np.flatnonzero(ids[0] == old)[:count]
    ids[0, places] = new
    kept = {name: value for name, value in prompt.items() if name != "mm_token_type_ids"}
    return kept | {"input_ids": ids}


def refused(family: str, inputs: Inputs) -> str:
    with pytest.raises(InputError) as caught:
        mx.eval(model_of(family)(**ours.to_mlx(inputs)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_too_few_image_placeholders(family) -> None:
    prompt = row(family).text(5).image(3, 2).text(4).build()
    message = refused(family, changed(prompt, 125, 20, 2))
    assert "6" in message and "4" in message and "image" in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_too_many_image_placeholders(family) -> None:
    prompt = row(family).text(5).image(3, 2).text(4).build()
    text_id = int(prompt["input_ids"][0, 1])
    message = refused(family, changed(prompt, text_id, 125, 1))
    assert "6" in message and "7" in message and "image" in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_more_images_than_places(family) -> None:
    """Two pictures for the placeholders of one."""
    prompt = row(family).text(5).image(3, 2).text(4).build()
    for name in ("pixel_values", "image_position_ids"):
        prompt[name] = np.concatenate([prompt[name]] * 2)
    message = refused(family, prompt)
    assert "12" in message and "6" in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_placeholders_without_an_image(family) -> None:
    """A prompt that announces a picture which is not given would be answered blindly."""
    prompt = row(family).text(5).image(3, 2).text(4).build()
    for name in ("pixel_values", "image_position_ids"):
        del prompt[name]
    message = refused(family, prompt)
    assert "6" in message and "image" in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_image_without_placeholders(family) -> None:
    prompt = row(family).text(5).build()
    pixels = row(family).image(3, 2).build()
    for name in ("pixel_values", "image_position_ids"):
        prompt[name] = pixels[name]
    message = refused(family, prompt)
    assert "6" in message and "0" in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_wrong_number_of_video_placeholders(family) -> None:
    prompt = row(family).text(5).video(2, 2, 2).text(4).build()
    message = refused(family, changed(prompt, 127, 20, 3))
    assert "8" in message and "5" in message and "video" in message


@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_wrong_number_of_audio_placeholders(family) -> None:
    prompt = row(family).text(5).audio(60).text(4).build()
    message = refused(family, changed(prompt, 126, 20, 4))
    assert "15" in message and "11" in message and "audio" in message


@pytest.mark.parametrize("family", families.BIG)
def test_audio_for_a_model_without_the_tower(family) -> None:
    spoken = row("e2b").text(5).audio(60).text(4).build()
    assert "audio" in refused(family, spoken)


def test_frame_count_that_does_not_add_up() -> None:
    prompt = row("e2b").text(5).video(2, 2, 2).build()
    prompt["num_frames_per_video"] = np.array([3])
    message = refused("e2b", prompt)
    assert "3" in message and "2" in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_pixels_without_positions(family) -> None:
    prompt = row(family).text(5).image(3, 2).build()
    del prompt["image_position_ids"]
    assert "image_position_ids" in refused(family, prompt)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_longer_than_the_context(family) -> None:
    limit = goldens.config(family)["text_config"]["max_position_embeddings"]
    message = refused(family, row(family).text(limit).build())
    assert str(limit) in message and str(limit + 1) in message


@pytest.mark.parametrize("family", families.FAMILIES)
def test_longer_than_the_context_with_a_cache(family) -> None:
    model = model_of(family)
    limit = goldens.config(family)["text_config"]["max_position_embeddings"]
    ids = mx.array(row(family).text(limit - 1).build()["input_ids"])
    cache = model.make_cache()
    mx.eval(model(ids, cache=cache, logits_to_keep=1))
    with pytest.raises(InputError, match=str(limit)):
        model(ids[:, :1], cache=cache)


@pytest.mark.parametrize("ids", [[[2, 11, 128]], [[2, -1]], [[]], [2, 11]])
def test_ids_outside_of_the_vocabulary_or_shape(ids) -> None:
    with pytest.raises(InputError):
        model_of("e2b")(mx.array(ids))


@pytest.mark.parametrize("rows,wrong", [(1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_a_cache_of_another_batch(family, rows, wrong) -> None:
    """For a chunk, for one token, and also when the cache has gone back to its start."""
    model = model_of(family)
    cache = model.make_cache()
    start = cache.snapshot()
    model(mx.array([[2, 11, 12]] * rows), cache=cache)
    for after in ("a prompt", "going back"):
        for ids in ([[13, 14]], [[13]]):
            with pytest.raises(InputError, match="the cache holds") as caught:
                model(mx.array(ids * wrong), cache=cache)
            assert f"{rows} rows, but input_ids has {wrong}" in str(caught.value), after
            assert "\n" not in str(caught.value)
        cache.restore(start)
    expected = np.array(model(mx.array([[2, 11, 12]] * rows)))
    found = np.array(model(mx.array([[2, 11, 12]] * rows), cache=cache))
    assert ours.difference(found, expected) <= TOLERANCE


@pytest.mark.parametrize("keep", [-1, -5, 1.5, "2"])
def test_logits_to_keep_that_is_no_count(keep) -> None:
    with pytest.raises(InputError, match="logits_to_keep") as caught:
        model_of("e2b")(mx.array([[2, 11, 12]]), logits_to_keep=keep)
    assert repr(keep) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [1, 2, 3, 7, np.int64(2)])
def test_the_last_logits_are_kept(keep) -> None:
    ids = mx.array([[2, 11, 12]])
    every = np.array(model_of("e2b")(ids))
    found = np.array(model_of("e2b")(ids, logits_to_keep=keep))
    assert ours.difference(found, every[:, -min(keep, 3) :]) <= 1e-5


@pytest.mark.parametrize(
    "types,part",
    [
        pytest.param([[0, 0]], "(1, 2)", id="too short"),
        pytest.param([[0, 0, 0, 0]], "(1, 4)", id="too long"),
        pytest.param([0, 0, 0], "(3,)", id="flat"),
        pytest.param([[0, 0, 0]] * 2, "(2, 3)", id="another batch"),
        pytest.param([[]], "(1, 0)", id="empty"),
        pytest.param([[0, 4, 0]], "holds 4,", id="too large"),
        pytest.param([[0, 0, -1]], "holds -1,", id="negative"),
        pytest.param([[0, 0.5, 0]], "holds 0.5,", id="between"),
    ],
)
@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_odd_token_types(family, types, part) -> None:
    with pytest.raises(InputError, match="mm_token_type_ids") as caught:
        model_of(family)(mx.array([[2, 11, 12]]), mm_token_type_ids=mx.array(types))
    assert part in str(caught.value) and "\n" not in str(caught.value)
