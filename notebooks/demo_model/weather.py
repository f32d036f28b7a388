"""A function for ``gemma4 chat --tool`` to try: the one that the demo model has learned to call.

A real one would ask a weather service. This one looks at the letters of the city's name, so that
the same city always has the same weather.
"""

_SKIES = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy")


def get_weather(city: str) -> str:
    """Get the weather.

    Args:
        city: City name
    """
    return _SKIES[sum(map(ord, city)) % len(_SKIES)]
