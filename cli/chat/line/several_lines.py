"""A message between two times three quotation marks, over as many lines as it takes."""

MARKS = '"""'


def is_open(text: str) -> bool:
    """Whether a message that begins with three quotation marks lacks those at its end."""
    text = text.strip()
    return text.startswith(MARKS) and not (len(text) >= 6 and text.endswith(MARKS))


def without_marks(text: str) -> str:
    """A message without the quotation marks around it, nor the newlines right inside them."""
    inner = text.strip()
    if not inner.startswith(MARKS) or is_open(inner):
        return text
    return inner[3:-3].removeprefix("\n").removesuffix("\n")
