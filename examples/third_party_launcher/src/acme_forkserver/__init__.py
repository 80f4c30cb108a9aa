import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, set_forkserver_preload
from threading import Thread

from anypool import Launcher, Traits, hookimpl


def end_with_owner() -> None:
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


# Workers forked from a server that has imported `preload`: "forkserver:4?preload=numpy".
@dataclass(frozen=True)
class ForkServer(Launcher):
    name = "forkserver"
    api = 1
    traits = Traits("bytes", reruns=False, isolates=False, secure=None)
    on_this_machine = True
    preload: tuple[str, ...] = ()

    def launch(self) -> ProcessPoolExecutor:
        set_forkserver_preload([*self.preload])
        return ProcessPoolExecutor(self.size, get_context("forkserver"), end_with_owner)


@hookimpl
def anypool_launchers() -> list[type[Launcher]]:
    return [ForkServer]
