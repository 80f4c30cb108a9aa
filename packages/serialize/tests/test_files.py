"""Objects in files, whole or not at all."""

import io
import os
import stat
import struct
import threading

import numpy as np
import pytest

from anypool_serialize import AnypoolError, Unserializable, dump, load


def test_a_file_holds_code_and_buffers(tmp_path):
    array = np.arange(100_000.0)
    path = tmp_path / "object.any"
    dump((lambda x: x + 1, array), path)
    f, back = load(path)
    assert f(1) == 2
    assert (back == array).all()
    back[0] = 5
    assert os.listdir(tmp_path) == ["object.any"]


def test_several_objects_follow_each_other_in_an_open_file():
    file = io.BytesIO()
    dump([1], file)
    dump({"a": np.zeros(70_000)}, file)
    file.seek(0)
    assert load(file) == [1]
    assert load(file)["a"].sum() == 0


def test_what_cannot_be_written_leaves_the_older_file(tmp_path):
    path = tmp_path / "object.any"
    dump(1, path)
    with pytest.raises(Unserializable):
        dump((n for n in ""), path)
    assert load(path) == 1
    assert len(os.listdir(tmp_path)) == 1


def test_a_foreign_a_short_and_a_newer_file_are_told_apart(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(AnypoolError, match=r"file: not written by anypool_serialize.dump \(it begins with b'PK"):
        load(path)
    dump(list(range(1000)), path)
    whole = path.read_bytes()
    for size in (9, 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(AnypoolError, match="cut short"):
            load(path)
    path.write_bytes(whole[:8] + struct.pack("<H", 99) + whole[10:])
    with pytest.raises(AnypoolError, match=r"format 99.*update"):
        load(path)


def test_a_damaged_size_allocates_nothing():
    file = io.BytesIO()
    dump(1, file)
    raw = bytearray(file.getvalue())
    raw[16:24] = struct.pack("<Q", 1 << 50)
    with pytest.raises(AnypoolError, match="cut short"):
        load(io.BytesIO(raw))


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=dump, args=([1], path))
    writer.start()
    assert stat.S_ISFIFO(os.stat(path).st_mode)
    assert load(path) == [1]
    writer.join()
    assert stat.S_ISFIFO(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_file_that_is_written_again_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    dump(1, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end():
    class Drip(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

    file = io.BytesIO()
    dump(list(range(100)), file)
    assert load(Drip(file.getvalue())) == list(range(100))
