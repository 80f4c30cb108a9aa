"""The recipe: what a launcher's class has to be before anything starts."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from anypool import LAUNCHER_API, Launcher, get_pool
from anypool._building import plan_of
from anypool.testing._base import Kit
from anypool.testing._remains import Remains
from anypool.testing._terms import a_recipe, parts_of
from anypool_serialize import dumps, loads

__all__: list[str] = []


class Recipes(Kit):
    """Behaviours of the recipe."""

    def test_the_recipe_is_frozen(self, recipe: Launcher) -> None:
        with pytest.raises(FrozenInstanceError):
            recipe.workers = 7  # type: ignore[misc]

    @a_recipe
    def test_the_recipe_travels_and_is_equal_where_it_arrives(self, recipe: Launcher) -> None:
        arrived = loads(dumps(recipe))
        assert type(arrived) is type(recipe)
        assert arrived == recipe

    @a_recipe
    def test_the_text_of_the_recipe_makes_it_again(self, recipe: Launcher) -> None:
        assert plan_of(str(recipe)).levels == (recipe,)

    def test_the_class_states_which_contract_it_was_written_for(self, recipe: Launcher) -> None:
        for part in parts_of(recipe):
            stated = [vars(kind)["api"] for kind in type(part).__mro__ if kind is not Launcher and "api" in vars(kind)]
            # What is inherited from anypool would always be the contract of the anypool that is installed.
            assert stated[:1] == [LAUNCHER_API], f"{type(part).__name__} has no `api: ClassVar[int] = {LAUNCHER_API}`"

    def test_asking_whether_it_can_run_starts_nothing(self, recipe: Launcher) -> None:
        before = Remains.now()
        assert [type(part).missing() for part in parts_of(recipe)] == [None] * len([*parts_of(recipe)])
        assert Remains.now().beyond(before) == {}

    @a_recipe
    def test_an_option_that_it_lacks_is_refused_before_anything_starts(self, recipe: Launcher) -> None:
        before = Remains.now()
        with pytest.raises(TypeError, match="colour_of_the_workers"):
            get_pool(str(recipe), colour_of_the_workers="red")
        assert Remains.now().beyond(before) == {}
