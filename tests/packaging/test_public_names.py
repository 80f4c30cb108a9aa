"""Every public name is listed, documented and knows where it is imported from."""

import importlib
import inspect
from types import ModuleType

import pytest

PACKAGES = [importlib.import_module(name) for name in ("anypool", "anypool_serialize")]

# What a module that loads its names on demand needs itself.
FROM_TYPING = {"TYPE_CHECKING", "Any", "annotations"}

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


def public(package: ModuleType) -> dict[str, object]:
    return {name: getattr(package, name) for name in package.__all__}


@each_package
def test_all_names_exist_and_none_is_named_twice(package):
    assert len(set(package.__all__)) == len(package.__all__)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@each_package
def test_whatever_has_no_underscore_is_in_all(package):
    names = {name for name, value in vars(package).items() if not name.startswith("_")}
    submodules = {name for name in names if isinstance(getattr(package, name), ModuleType)}
    assert names - submodules - FROM_TYPING - set(package.__all__) == set()


@each_package
def test_every_public_name_is_documented(package):
    undocumented = [
        name
        for name, value in public(package).items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value)
    ]
    assert undocumented == []


def members(kind: type) -> dict[str, object]:
    """What a class has, and what it has from base classes of ours."""
    ours = [base for base in kind.__mro__ if base.__module__.partition(".")[0] in {p.__name__ for p in PACKAGES}]
    return {name: value for base in reversed(ours) for name, value in vars(base).items() if not name.startswith("_")}


@each_package
def test_every_public_method_is_documented(package):
    undocumented = [
        f"{name}.{member}"
        for name, value in public(package).items()
        if inspect.isclass(value)
        for member, attribute in members(value).items()
        if (inspect.isroutine(attribute) or isinstance(attribute, property))
        and not inspect.getdoc(getattr(value, member))
    ]
    assert undocumented == []


@each_package
def test_a_class_shows_the_name_it_is_imported_by(package):
    ours = tuple(module.__name__ for module in PACKAGES)
    hidden = {
        name: value.__module__
        for name, value in public(package).items()
        if inspect.isclass(value) and value.__module__.startswith(ours) and value.__module__ not in ours
    }
    assert hidden == {}


@each_package
def test_the_package_is_documented(package):
    assert package.__doc__
