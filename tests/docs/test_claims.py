"""docs/CLAIMS.md: its figures are today's, its lines of code exist, its sums are right."""

from typing import get_args

import pytest

from tests.docs import claims
from tests.docs.arithmetic import A4B, BIG, E2B, E4B, MODELS, Model, image_tokens
from tests.docs.claims_of_attention import attention
from tests.docs.claims_of_media import media
from tests.docs.claims_of_size import size
from tests.docs.pages import ROOT

ALL = [*size(), *attention(), *media()]


def test_the_page_is_what_is_counted_today() -> None:
    assert claims.PAGE.read_text(encoding="utf-8") == claims.text(), "run `make docs`"


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.claim[:40])
def test_the_line_it_shows_is_in_the_file(claim: claims.Claim) -> None:
    code = " ".join((ROOT / claim.file).read_text(encoding="utf-8").split())
    assert claim.shown in code


def test_every_verdict_occurs_and_no_claim_twice() -> None:
    assert {claim.verdict for claim in ALL} == set(get_args(claims.Verdict))
    assert len({claim.claim for claim in ALL}) == len(ALL)


# Totals as the hub shows them for Google's repositories.
HUB = {"e2b": 5_123_178_051, "e4b": 7_996_156_490, "26b": 25_805_936_206, "31b": 31_273_088_876}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.alias)
def test_totals_are_those_of_the_hub(model: Model) -> None:
    assert model.parameters.total == HUB[model.alias]


def test_the_cache_by_hand() -> None:
    """E2B owns 12 local layers and 3 global ones, each with one head of keys and one of values."""
    tokens = 12 * 512 * 2 * 256 + 3 * 8192 * 2 * 512
    assert E2B.cache(8192) == E2B.kept(8192) == 2 * tokens
    every = 28 * 8192 * 2 * 256 + 7 * 8192 * 2 * 512
    assert E2B.cache(8192, windows=False, sharing=False) == 2 * every
    assert 1 - tokens / every == pytest.approx(0.839, abs=5e-4)


@pytest.mark.parametrize("model", [A4B, BIG], ids=lambda model: model.alias)
def test_five_sixths(model: Model) -> None:
    """83 % at 8K, with the one baseline and the one context that give it."""
    at = {n: 1 - model.cache(n, one=1) / model.cache(n, one=1, windows=False) for n in (4096, 8192)}
    assert at[8192] == pytest.approx(5 / 6, abs=1e-12)
    assert at[4096] != pytest.approx(5 / 6, abs=0.01)


def test_what_borrowing_saves_by_hand() -> None:
    """Of E2B's 20 layers that borrow 4 are global, of E4B's 18 there are 3."""
    e2b = 2 * (4 * 131_072 * 2 * 512 + 16 * 512 * 2 * 256)
    e4b = 2 * 2 * (3 * 131_072 * 2 * 512 + 15 * 512 * 2 * 256)
    assert E2B.saved_by_sharing(131_072) == e2b
    assert E4B.saved_by_sharing(131_072) == e4b


def test_double_width_by_hand() -> None:
    assert E2B.wide_mlps() == 20 * 3 * 6144 * 1536
    assert [model.wide_mlps() for model in (E4B, A4B, BIG)] == [0, 0, 0]


def test_a_picture_by_hand() -> None:
    """16 × 16 cells of 48 pixels are the most of a square that 280 tokens hold."""
    assert 16**2 <= 280 < 17**2
    assert image_tokens(1000, 1000, 280) == 16**2
