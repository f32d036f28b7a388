"""transformers' own processor over the same files, where torch and transformers are installed."""

import json
from pathlib import Path
from typing import Any

import pytest


def require() -> None:
    """Skip the test, with the reason, where the reference is not installed."""
    for name in ("torch", "transformers"):
        pytest.importorskip(name, reason=f"{name}, the reference implementation, is not installed")


def image_processor(**settings: Any) -> Any:
    """``Gemma4ImageProcessorPil``, the reference for pictures."""
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    return Gemma4ImageProcessorPil(**settings)


def feature_extractor(**settings: Any) -> Any:
    """``Gemma4AudioFeatureExtractor``, the reference for recordings."""
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

    return Gemma4AudioFeatureExtractor(**settings)


def processor(checkpoint: Path) -> Any:
    """``Gemma4Processor`` without its video part, which cannot be imported without torchvision."""
    from transformers import AutoTokenizer
    from transformers.models.gemma4.processing_gemma4 import Gemma4Processor

    class WithoutVideo(Gemma4Processor):
        def check_argument_for_proper_class(self, *_: Any) -> None:
            """Let the missing video processor pass."""

    raw = json.loads((checkpoint / "processor_config.json").read_text())
    return WithoutVideo(
        feature_extractor(**raw["feature_extractor"]),
        image_processor(**raw["image_processor"]),
        AutoTokenizer.from_pretrained(checkpoint),
        None,
        chat_template=(checkpoint / "chat_template.jinja").read_text(),
    )


def inputs(reference: Any, messages: Any, **options: Any) -> dict[str, Any]:
    """What the reference makes of messages, as NumPy arrays."""
    options.setdefault("add_generation_prompt", True)
    made = reference.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="np", **options
    )
    return dict(made)
