"""Arena, sealed segments and the views of them, in one process and between two."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from anypool import _linux, _segments
from anypool._segments import Arena, Mappings, Sealed, SegmentLost
from anypool._wire import Ref

PAGE = 4096
MB = 1 << 20


def put(arena: Arena, data: bytes) -> Ref:
    ref = arena.put(data)
    assert ref is not None
    return ref


def descriptors() -> int:
    # What an earlier test has left as garbage would be gone when this one has collected its own.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def in_child(check: Callable[[], None]) -> int:
    """The exit code of a forked process that runs `check`."""
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException:  # noqa: BLE001 - the child must not return into pytest
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("size", [1, PAGE, PAGE + 1, 3 * MB + 7, 64 * MB, 64 * MB + 1, 130 * MB])
def test_what_is_put_is_seen(size: int) -> None:
    data = os.urandom(64) * (size // 64 + 1)
    data = data[:size]
    arena, mappings = Arena(1 << 30), Mappings(keep=1 << 30)
    first, second = put(arena, data), put(arena, data[::-1])
    assert first.size == size
    assert mappings.view(first) == data
    assert mappings.view(second) == data[::-1]


def test_any_contiguous_buffer_can_be_put() -> None:
    array: Any = np.arange(5000, dtype="f8").reshape(50, 100)
    arena = Arena(MB)
    ref = arena.put(pickle.PickleBuffer(array).raw())
    assert ref is not None
    view = Mappings().view(ref)
    assert (np.frombuffer(view).reshape(50, 100) == array).all()


@pytest.mark.parametrize("size", [1, 4096, 4097, 65536, 65537, 5 * MB, 8 * MB + 1, 100 * MB])
def test_a_slot_wastes_at_most_a_fifth_beyond_a_page(size: int) -> None:
    taken = _segments._class_of(size)
    assert taken % PAGE == 0
    assert size <= taken <= max(size * 1.25, size + PAGE)


def test_a_freed_slot_is_used_again_last_in_first_out() -> None:
    arena = Arena(MB)
    first, second = put(arena, b"a" * PAGE), put(arena, b"b" * PAGE)
    arena.free(first.offset)
    arena.free(second.offset)
    assert put(arena, b"c" * 10).offset == second.offset
    assert put(arena, b"d" * 10).offset == first.offset


def test_freeing_twice_gives_a_slot_back_once() -> None:
    arena = Arena(MB)
    ref = put(arena, b"a")
    arena.free(ref.offset)
    arena.free(ref.offset)
    assert put(arena, b"b").offset != put(arena, b"c").offset


def test_a_full_arena_refuses_and_counts() -> None:
    arena = Arena(2 * MB)
    ref = put(arena, b"a" * MB)
    put(arena, b"b" * MB)
    assert arena.put(b"c" * MB) is None
    assert arena.put(b"c" * (3 * MB)) is None
    assert arena.refused == 2
    arena.free(ref.offset)
    put(arena, b"d" * MB)


def test_free_slots_of_other_sizes_make_room() -> None:
    arena, mappings = Arena(4 * MB), Mappings()
    small = [put(arena, bytes([n]) * (256 << 10)) for n in range(16)]
    for ref in small:
        arena.free(ref.offset)
    big = put(arena, b"x" * (4 * MB))
    assert mappings.view(big) == b"x" * (4 * MB)
    assert arena.put(b"y" * (256 << 10)) is None
    arena.free(big.offset)
    again = [put(arena, bytes([n]) * (256 << 10)) for n in range(12)]
    assert all(mappings.view(ref) == bytes([n]) * (256 << 10) for n, ref in enumerate(again[1:], 1))
    held = os.stat(f"/proc/self/fd/{big.fd}").st_blocks * 512
    assert held <= 4 * MB


def test_a_system_without_room_or_descriptors_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    arena = Arena(MB)
    with monkeypatch.context() as patch:
        patch.setattr(_linux, "reserve", full)
        assert arena.put(b"a") is None
    put(arena, b"a")
    with monkeypatch.context() as patch:
        patch.setattr(_linux, "new_segment", full)
        assert Arena(MB).put(b"a") is None
        assert Sealed.write([b"a"]) is None
    assert arena.refused == 1


def test_a_slot_comes_back_when_nothing_uses_it() -> None:
    arena, mappings = Arena(MB), Mappings()
    ref = put(arena, b"a" * PAGE)
    view = mappings.view(ref)
    assert mappings.collect() == []
    derived = memoryview(view)[10:20]
    del view
    assert mappings.collect() == []
    del derived
    assert mappings.collect() == [ref]
    assert mappings.collect() == []


def test_an_array_over_a_view_holds_its_slot() -> None:
    arena, mappings = Arena(MB), Mappings()
    array = np.frombuffer(mappings.view(put(arena, b"a" * PAGE)), dtype="u1")
    slice_of_it = array[100:200].reshape(10, 10)
    del array
    assert mappings.collect() == []
    slice_of_it[:] = 7
    del slice_of_it
    assert len(mappings.collect()) == 1


def test_a_view_that_the_user_releases_comes_back() -> None:
    arena, mappings = Arena(MB), Mappings()
    view = mappings.view(put(arena, b"a"))
    view.release()
    assert len(mappings.collect()) == 1


def test_beyond_the_bound_views_are_private_copies() -> None:
    arena, mappings = Arena(64 * MB), Mappings(keep=4 * MB)
    kept = mappings.view(put(arena, b"a" * (3 * MB)))
    big, small = put(arena, b"b" * (3 * MB)), put(arena, b"c" * (2 * MB - 1))
    copies = [mappings.view(big), mappings.view(small)]
    assert mappings.collect() == [big, small]
    arena.free(big.offset)
    put(arena, b"z" * (3 * MB))
    assert copies[0] == b"b" * (3 * MB)
    copies[0][0] = 1
    del kept
    lent = mappings.view(put(arena, b"d" * (3 * MB)))
    assert len(mappings.collect()) == 1
    assert lent == b"d" * (3 * MB)


def test_sealed_buffers_can_be_changed_by_nobody_but_privately() -> None:
    sealed = Sealed.write([b"a" * 10, b"", b"b" * (PAGE + 1), bytearray(b"c")])
    assert sealed is not None
    assert all(ref.sealed and ref.offset % PAGE == 0 for ref in sealed.refs)
    one, other = Mappings(), Mappings()
    views = [one.view(ref) for ref in sealed.refs]
    assert [bytes(view) for view in views] == [b"a" * 10, b"", b"b" * (PAGE + 1), b"c"]
    views[0][0] = 0
    assert bytes(other.view(sealed.refs[0])) == b"a" * 10
    assert bytes(one.view(sealed.refs[0])) == b"a" * 10
    assert one.collect() == []
    with pytest.raises(PermissionError):
        os.pwrite(sealed.refs[0].fd, b"x", sealed.refs[0].offset)


def test_views_of_one_sealed_segment_share_a_mapping() -> None:
    sealed = Sealed.write([bytes([n]) for n in range(100)])
    assert sealed is not None
    mappings, before = Mappings(), descriptors()
    views = [mappings.view(ref) for ref in sealed.refs]
    assert descriptors() <= before + 1
    del views
    gc.collect()
    assert descriptors() == before


def test_a_descriptor_number_used_again_is_another_segment() -> None:
    mappings = Mappings()
    for sealing in (True, False):
        seen = []
        for text in (b"first", b"second"):
            if sealing:
                segment = Sealed.write([text])
                assert segment is not None
                ref = segment.refs[0]
            else:
                arena = Arena(MB)
                ref = put(arena, text)
            seen.append((ref.fd, mappings.view(ref)))
            (segment if sealing else arena).close()  # type: ignore[union-attr]
        assert seen[0][0] == seen[1][0]
        assert [bytes(view) for _, view in seen] == [b"first", b"second"]


def test_what_cannot_be_opened_is_lost() -> None:
    arena, mappings = Arena(MB), Mappings()
    ref = put(arena, b"a")
    arena.close()
    for lost in (ref, ref._replace(sealed=True), ref._replace(pid=1 << 22), Ref(os.getpid(), 0, 0, 10)):
        with pytest.raises(SegmentLost, match=r"can't be read"):
            mappings.view(lost)


def test_a_mapped_slot_outlives_its_arena_and_the_mappings() -> None:
    arena, mappings = Arena(MB), Mappings()
    view = mappings.view(put(arena, b"a" * PAGE))
    arena.close()
    mappings.forget(os.getpid())
    assert mappings.collect() == []
    mappings.close()
    del mappings
    assert view == b"a" * PAGE


def test_descriptors_stay_flat() -> None:
    before = descriptors()
    arena, mappings = Arena(32 * MB), Mappings()
    for _ in range(200):
        mappings.view(put(arena, b"a" * MB))
        for ref in mappings.collect():
            arena.free(ref.offset)
    assert descriptors() <= before + 4
    mappings.close()
    arena.close()
    gc.collect()
    assert descriptors() == before


@pytest.mark.parametrize("seed", range(5))
def test_no_view_ever_changes_under_its_user(seed: int) -> None:
    random = Random(seed)
    arena, mappings = Arena(2 * MB), Mappings(keep=MB)
    users: list[tuple[memoryview, bytes]] = []
    for step in range(300):
        data = step.to_bytes(4, "little") * random.choice([1, 100, 1024, 5000, 30_000, 100_000])
        ref = arena.put(data)
        if ref is not None:
            users.append((mappings.view(ref), data))
        while users and (ref is None or random.random() < 0.45):
            users.pop(random.randrange(len(users)))
            if random.random() < 0.5:
                break
        for done in mappings.collect():
            arena.free(done.offset)
        assert all(bytes(view) == expected for view, expected in users)


def test_a_forked_child_keeps_no_segment_open() -> None:
    arena, mappings, sealed = Arena(MB), Mappings(), Sealed.write([b"a"])
    assert sealed is not None
    mappings.view(put(arena, b"a"))

    def check() -> None:
        assert arena.put(b"a") is None
        assert mappings.collect() == []
        assert not [fd for fd in os.listdir("/proc/self/fd") if "anypool" in link(fd)]

    assert in_child(check) == 0
    put(arena, b"b")


def link(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


def test_another_process_sees_and_changes_a_slot() -> None:
    arena = Arena(MB)
    ref = put(arena, b"question")

    def check() -> None:
        view = Mappings().view(ref)
        assert bytes(view) == b"question"
        view[:] = b"answered"

    # The forked child has closed the arena: it reads this process' descriptor.
    assert in_child(check) == 0
    assert bytes(Mappings().view(ref)) == b"answered"


def test_views_may_be_taken_by_many_threads() -> None:
    arena, mappings = Arena(64 * MB), Mappings(keep=MB)
    refs = [put(arena, bytes([n]) * (64 << 10)) for n in range(100)]
    wrong: list[int] = []

    def take(start: int) -> None:
        for n in range(start, 100, 4):
            if mappings.view(refs[n]) != bytes([n]) * (64 << 10):
                wrong.append(n)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(mappings.collect()) == sorted(refs)
