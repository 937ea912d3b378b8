"""How long to wait before the next dial: exponential back-off with full jitter, and a deadline."""

_MOST_DOUBLINGS = 60  # far beyond any longest wait


def wait_before(
    failures: int, *, first: float, longest: float, deadline: float, luck: float
) -> float:
    """Return the seconds to wait before the next dial.

    The back-off is anything from nothing to its ceiling, which doubles with each failure. It is no
    shorter than the deadline, behind which those who wait for the same one are spread out: they
    would all dial in the same instant otherwise.

    Args:
        failures: Dials in a row that brought no lasting connection, from 0 up.
        first: Seconds of the first ceiling, above 0.
        longest: The most seconds of a ceiling, from `first` up.
        deadline: Seconds before which a dial would be in vain, from 0 up; 0: it may be made now.
        luck: A random number from 0 up to 1.
    """
    ceiling = min(longest, first * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS))
    wait = ceiling * luck
    return max(wait, deadline + first * luck) if deadline > 0 else wait
