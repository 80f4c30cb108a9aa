"""What to do about an object that does not travel."""

import types
from typing import Any

_BY_TYPE: tuple[tuple[type, str], ...] = (
    (types.GeneratorType, "Send a list, or make the generator inside the function"),
    (types.CoroutineType, "Send the arguments and await inside the function"),
    (types.AsyncGeneratorType, "Make the asynchronous generator inside the function"),
    (types.FrameType, "Send the values you need from the frame"),
    (memoryview, "Send the object that it views, or its bytes"),
    (types.TracebackType, "Send traceback.format_exception(...) as text"),
)

_MANAGER = "Use a manager's: multiprocessing.Manager().{} makes one that can be sent"

_BY_MODULE = {
    "socket": "Open the connection inside the function, once per worker",
    "_socket": "Open the connection inside the function, once per worker",
    "ssl": "Make the context inside the function, once per worker",
    "_ssl": "Make the context inside the function, once per worker",
    "sqlite3": "Open the database inside the function, once per worker",
    "_queue": "Use a queue of multiprocessing.Manager()",
    "_thread": "Make it inside the function, once per worker",
    "tempfile": "Send its name, or its contents",
    "subprocess": "Send the command and start it inside the function",
    "asyncio": "Send the arguments and await inside the function",
    "_asyncio": "Send the arguments and await inside the function",
    "_contextvars": "Send the values of the variables",
}

# What a pool knows of its futures; the dependency is the other way round.
_RESULT = "Make it an argument of its own of submit, apipe or pipe, for which it is its value, or send its .result()"
_DEFAULT = "Make it inside the function, or give its class a __reduce__ that tells how to rebuild it"


def advice_for(obj: Any) -> str:
    """One sentence, without a full stop."""
    for kind, advice in _BY_TYPE:
        if isinstance(obj, kind):
            return advice
    module = type(obj).__module__ or ""
    if module == "anypool" and type(obj).__name__ == "Result":
        return _RESULT
    top = module.partition(".")[0]
    if top in ("multiprocessing", "multiprocess"):
        if type(obj).__name__ == "Connection":
            return f"Use a queue of {top}.Manager()"
        return _MANAGER.format(f"{type(obj).__name__}()").replace("multiprocessing", top)
    return _BY_MODULE.get(module) or _BY_MODULE.get(top, _DEFAULT)
