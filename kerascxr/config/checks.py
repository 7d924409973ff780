"""The one form of a config's error message."""

from typing import Any


def check(holds: bool, rule: str, **got: Any) -> None:
    """Raises "<rule>. Got <name>=<value>." unless a rule holds.

    Args:
        holds: Whether it does.
        rule: "<what> must be <rule>".
        got: The values that break it, by name.

    Raises:
        ValueError: If the rule does not hold.
    """
    if not holds:
        values = ", ".join(f"{name}={value!r}" for name, value in got.items())
        raise ValueError(f"{rule}. Got {values}.")
