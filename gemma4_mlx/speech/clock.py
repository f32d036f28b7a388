"""Times of a recording as people read them."""


def clock(seconds: float) -> str:
    """To a tenth of a second: 2:03.4, or 1:02:03.4 from an hour on."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minute = divmod(minutes, 60)
    second = f"{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{minute:02}:{second}" if hours else f"{minute}:{second}"
