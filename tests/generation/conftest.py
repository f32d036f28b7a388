import pytest

from gemma4_mlx.processing.tokenizer import Tokenizer

from .tiny_tokenizer import tiny_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer()
