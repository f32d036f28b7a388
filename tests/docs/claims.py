"""docs/CLAIMS.md: what has been written about Gemma 4, beside what the configs and this code give.

    python -m tests.docs.claims

The claims are in our words; every figure is worked out here.
"""

from dataclasses import dataclass
from typing import Literal

from gemma4_mlx.anatomy import COMPONENTS
from gemma4_mlx.memory import contexts
from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS
from tests.docs.arithmetic import BIG, E2B, MODELS, image_tokens
from tests.docs.pages import ROOT, between_marks, table, write

PAGE = ROOT / "docs/CLAIMS.md"

Source = Literal["model card", "technical report", "config", "articles", "question"]
Verdict = Literal["holds", "corrected", "wrong", "cannot be known here"]


@dataclass(frozen=True)
class Claim:
    """``shown`` is a line of code, or a part of one, and ``file`` where it stands."""

    claim: str
    source: Source
    gives: str
    verdict: Verdict
    file: str
    shown: str


def billions(count: float, digits: int = 2) -> str:
    return f"{count / 1e9:.{digits}f} B"


def millions(count: float, digits: int = 1) -> str:
    return f"{count / 1e6:,.{digits}f} M"


def gigabytes(count: float, digits: int = 2) -> str:
    return f"{count / 1e9:.{digits}f} GB"


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def each(values: dict[str, str]) -> str:
    """``E2B 35, E4B 42``, or ``35 in both`` where that is so."""
    (first, *rest) = values.values()
    if rest and all(value == first for value in rest):
        return f"{first} in {'both' if len(rest) == 1 else 'all'}"
    return ", ".join(f"{name} {value}" for name, value in values.items())


def claims_table(claims: list[Claim]) -> str:
    rows = [
        [
            claim.claim,
            claim.source,
            claim.gives,
            f"**{claim.verdict}**",
            f"`{claim.shown}` in [{claim.file.rpartition('/')[2]}](../{claim.file})",
        ]
        for claim in claims
    ]
    return table(["claim", "source", "what the code gives", "verdict", "shown by"], rows)


def parameters_table() -> str:
    """Parameters by component, as ``gemma4 info`` counts them."""
    rows = [
        [name.replace("_", " "), *(f"{model.part(name):,}" for model in MODELS)]
        for name in COMPONENTS
    ]
    rows.append(["borrowed, unused", *(f"{model.parameters.borrowed:,}" for model in MODELS)])
    rows.append(["**all in the files**", *(f"{model.parameters.total:,}" for model in MODELS)])
    return table(["parameters", *(model.name for model in MODELS)], rows)


def cache_table() -> str:
    """The cache at several contexts, and what is saved against another layout."""
    rows = []
    for context in (8192, 32768, *contexts(E2B.text)[-1:], *contexts(BIG.text)[-1:]):
        for model in MODELS:
            if context > model.text.max_position_embeddings:
                continue
            plain = model.cache(context, windows=False, sharing=False)
            kept, apart = model.kept(context), model.cache(context)
            rows.append(
                [
                    f"{context:,}",
                    model.name,
                    f"{plain / 1e6:,.0f} MB",
                    f"{apart / 1e6:,.0f} MB",
                    f"{kept / 1e6:,.0f} MB",
                    percent(1 - apart / plain),
                    percent(1 - kept / plain),
                ]
            )
    heads = ["context", "model", "no window, no sharing", "keys and values apart", "kept here"]
    return table([*heads, "saved, apart", "saved, here"], rows)


def pictures_table() -> str:
    """Tokens of a picture by shape and budget."""
    shapes = {"square": (1000, 1000), "4:3": (480, 640), "16:9": (1080, 1920), "9:19": (1900, 900)}
    rows = [
        [name, *(str(image_tokens(*shape, budget)) for budget in SOFT_TOKEN_BUDGETS)]
        for name, shape in shapes.items()
    ]
    return table(["picture", *(f"budget {budget:,}" for budget in SOFT_TOKEN_BUDGETS)], rows)


def text() -> str:
    """The page with its tables as they are now."""
    from tests.docs.claims_of_attention import attention
    from tests.docs.claims_of_media import media
    from tests.docs.claims_of_size import size

    page = PAGE.read_text(encoding="utf-8")
    for name, part in {
        "size": claims_table(size()),
        "parameters": parameters_table(),
        "attention": claims_table(attention()),
        "cache": cache_table(),
        "media": claims_table(media()),
        "pictures": pictures_table(),
    }.items():
        page = between_marks(page, name, part)
    return page


if __name__ == "__main__":
    write(PAGE, text())
