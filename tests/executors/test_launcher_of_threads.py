"""A launcher whose executor is threads of this process: its tasks get copies, as everywhere behind an executor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import pytest

from anypool import Launcher, Traits, get_pool


@dataclass(frozen=True)
class Threads(Launcher):
    name = "threads-of-an-executor"
    api = 1
    traits: ClassVar[Traits] = Traits(secure=None)
    on_this_machine = True

    def launch(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.size)


class ClaimsReferences(Threads):
    traits: ClassVar[Traits] = Traits("references", secure=None)


@pytest.mark.timeout(60)
def test_a_task_may_use_the_pool_that_runs_it():
    with get_pool(Threads(2)) as pool:
        found = pool.map(lambda x, own: own.map(abs, [x, -x]), range(5), [pool] * 5)
        assert found == [[x, x] for x in range(5)]


def test_a_pool_that_comes_home_is_the_one_that_left():
    with get_pool(Threads(1)) as pool:
        assert pool.pipe(lambda own: own, pool) is pool


def test_who_claims_references_and_launches_an_executor_is_told():
    with pytest.raises(TypeError, match="leave `crosses` out"):
        get_pool(ClaimsReferences(1))
