"""What tasks say, on its way to whoever called them."""

from __future__ import annotations

__all__: list[str] = []

TICK = 3


def tell(kind: int, payload: object) -> bool:
    """In a task that runs in another process than its caller: have `payload`, of plain values, handed to the caller.

    In order with what the task prints. False where the caller is this process: do it here.
    """
    return False
