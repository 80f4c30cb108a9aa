"""What the package raises and warns with."""

__all__ = ["AnypoolError", "CopiedState", "TooLarge", "Unserializable"]


class AnypoolError(Exception):
    """Base of every error that anypool's packages raise on their own account."""


class Unserializable(AnypoolError, TypeError):
    """An object cannot be sent: `path` leads from what was given to the culprit.

    The path is an expression over the object that was passed, such as
    ``f.__closure__['db']._socket``; it is empty when the culprit could not be located.
    The error of the pickler, where there was one, is the `__cause__`.
    """

    path: str

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


class TooLarge(AnypoolError, ValueError):
    """An object takes more bytes than it may."""


class CopiedState(UserWarning):
    """A lock or an open file was sent: the far side gets a copy that shares nothing with the original."""


for _public in (AnypoolError, CopiedState, TooLarge, Unserializable):
    _public.__module__ = "anypool_serialize"
