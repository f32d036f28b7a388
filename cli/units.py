"""Sizes and token counts in words that fit a table."""


def size(nbytes: int) -> str:
    """Bytes in decimal units, three digits: ``10.2 GB``, ``335 MB``."""
    value = float(nbytes)
    for unit in ("bytes", "kB", "MB"):
        if value < 999.5:
            return f"{_three_digits(value) if unit != 'bytes' else nbytes} {unit}"
        value /= 1000
    return f"{_three_digits(value)} GB"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"


def tokens(count: int) -> str:
    """A context length: ``4K``, ``256K``, or the plain number."""
    return f"{count // 1024}K" if count % 1024 == 0 else f"{count:,}"


def billions(count: int) -> str:
    """Parameters as models are named after them: ``5.1B``, ``2.3B``, ``3.2M``."""
    if count >= 999_500_000:
        return f"{count / 1e9:.1f}B"
    return f"{count / 1e6:.1f}M"
