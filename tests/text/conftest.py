"""The two forms in which attention is computed."""

import pytest

from gemma4_mlx.text import attend


@pytest.fixture(params=["Metal's way", "the CPU's way"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Overlapping views, or the whole tensor and copies: both run anywhere."""
    monkeypatch.setattr(attend, "on_metal", lambda: request.param == "Metal's way")
    return request.param
