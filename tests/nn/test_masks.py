"""Masks of the decoder, against what the rules say query by query."""

import mlx.core as mx
import numpy as np

from gemma4_mlx.nn.masks import ChunkMask, Mask, attention_mask, image_blocks


def seen(mask: Mask) -> np.ndarray:
    assert isinstance(mask, ChunkMask)
    whole = mask.whole()
    return np.array(whole).reshape(whole.shape[-2:])


def test_a_single_token_needs_no_array() -> None:
    assert attention_mask(1, 40, 41) is None
    assert attention_mask(1, 40, mx.arange(33, 41), window=8) is None


def test_everything_in_order_within_the_window_is_plainly_causal() -> None:
    assert attention_mask(5, 0, 5) == "causal"
    assert attention_mask(5, 3, 8, window=8) == "causal"
    assert attention_mask(5, 10, 15) == "causal"


def test_a_local_layer_sees_itself_and_the_window_before_it() -> None:
    mask = seen(attention_mask(4, 10, mx.arange(3, 14), window=8))
    for row, query in enumerate(range(10, 14)):
        keys = np.arange(3, 14)
        assert (mask[row] == ((keys <= query) & (keys > query - 8))).all()


def test_a_picture_is_seen_whole_forwards_and_within_the_window_backwards() -> None:
    # 12 tokens, of which 2 to 9 are one picture, in a window of 4.
    blocks = mx.array([[-1, -1, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1]])
    mask = seen(attention_mask(12, 0, 12, window=4, blocks=blocks))
    assert np.flatnonzero(mask[2]).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert np.flatnonzero(mask[8]).tolist() == [5, 6, 7, 8, 9]
    assert np.flatnonzero(mask[10]).tolist() == [7, 8, 9, 10]  # text after it stays causal


def test_old_tokens_belong_to_no_new_picture() -> None:
    mask = seen(attention_mask(3, 2, 5, window=8, blocks=mx.array([[0, 0, -1]])))
    assert np.flatnonzero(mask[0]).tolist() == [0, 1, 2, 3]


def test_padding_is_seen_by_nobody_but_itself() -> None:
    made = attention_mask(4, 0, 4, left_padding=mx.array([0, 2]))
    assert isinstance(made, ChunkMask)
    mask = np.array(made.whole())
    assert mask.shape == (2, 1, 4, 4)
    assert np.flatnonzero(mask[1, 0, 3]).tolist() == [2, 3]
    assert np.flatnonzero(mask[1, 0, 0]).tolist() == [0]
    assert (mask[0, 0] == np.tril(np.ones((4, 4), bool))).all()


def test_runs_of_pictures_are_numbered() -> None:
    is_vision = mx.array([[True, True, False, True, False], [False, True, True, True, False]])
    assert image_blocks(is_vision).tolist() == [[0, 0, -1, 1, -1], [-1, 0, 0, 0, -1]]
