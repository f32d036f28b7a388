"""Texts of windows that share some seconds of speech."""

import random

import pytest

from gemma4_mlx.speech.merging import merge

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def joined(left: str, right: str, left_share: float = 0.4, right_share: float = 0.4) -> str:
    found = merge(left, right, left_share, right_share)
    assert found.agreed
    return f"{found.left} {found.right}".strip()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("one two three four five six", "four five six seven eight nine"),
        ("one two three four five si", "ix five six seven eight nine"),  # both cut "six"
        ("one two three four five", "four five six seven eight nine"),
        ("One, two, three. Four, five, six", "four five six, seven, eight, nine"),
        ("one two three four fife six", "four five six seven eight nine"),
    ],
)
def test_nothing_is_doubled_or_lost(left: str, right: str) -> None:
    words = [word.strip(",.").lower() for word in joined(left, right).split()]
    wanted = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert [("five" if word == "fife" else word) for word in words] == wanted


def test_punctuation_and_case_stay_as_they_were_written() -> None:
    found = merge("He said: “Come in, please.", "come in, please.” And left.", 0.5, 0.6)
    assert f"{found.left} {found.right}" in (
        "He said: “Come in, please.” And left.",
        "He said: “Come in, please. And left.",
    )


@pytest.mark.parametrize("shared", [2, 3, 5])
def test_repetitions_are_told_apart_by_the_length_of_what_is_shared(shared: int) -> None:
    words = ["one"] * 8
    found = merge(" ".join(words), " ".join(words), shared / 8, shared / 8)
    assert len((found.left + " " + found.right).split()) == 16 - shared


def test_languages_without_spaces() -> None:
    found = merge("我们今天去公园玩然后", "去公园玩然后回家吃饭", 0.6, 0.6)
    assert found.left + found.right == "我们今天去公园玩然后回家吃饭"


def test_texts_with_nothing_in_common_change_over_in_the_middle() -> None:
    found = merge("a b c d e f g h i j", "q r s t u v w x y z", 0.4, 0.4)
    assert not found.agreed
    assert (found.left, found.right) == ("a b c d e f g h", "s t u v w x y z")


@pytest.mark.parametrize(("left", "right"), [("", "one two"), ("one two", ""), ("", "")])
def test_a_text_without_a_neighbour_stays(left: str, right: str) -> None:
    found = merge(left, right, 0.3, 0.3)
    assert (found.left, found.right, found.agreed) == (left, right, True)


def test_digits_at_random() -> None:
    """With every twentieth word misheard and words cut at the edges, hardly a word is lost."""
    right_length = 0
    for seed in range(300):
        draw = random.Random(seed)
        words = [draw.choice(DIGITS) for _ in range(60)]
        shared = draw.randint(5, 9)
        left, right = words[:40], words[40 - shared :]
        for text in (left, right):
            for place in range(len(text)):
                if draw.random() < 0.05:
                    text[place] = draw.choice("xyz")
        left[-1], right[0] = left[-1][:2], right[0][2:] or "o"
        off = draw.uniform(0.85, 1.15)
        found = merge(" ".join(left), " ".join(right), shared / 40 * off, shared / len(right) * off)
        right_length += len(f"{found.left} {found.right}".split()) == 60
    assert right_length >= 294
