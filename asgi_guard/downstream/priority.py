"""Priorities: who is called first, when not all can be."""

from enum import IntEnum


class Priority(IntEnum):
    """How much a call matters; any other whole number from -1000 to 1000 will do as well."""

    LOW = 0
    """What can wait, such as a report."""
    NORMAL = 1
    """What somebody waits for."""
    HIGH = 2
    """What must not wait, such as a payment that has begun."""
