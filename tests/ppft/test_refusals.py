"""Servers and secrets that are refused, each in words and before any task."""

import pickle
import socket
import threading
from contextlib import suppress

import pytest
from ppft_serving import SECRET, free_port, remote, secret_file, within  # type: ignore[import-not-found]

from anypool import LauncherUnavailable, ParallelPython, get_pool
from anypool._building import plan_of


def test_a_wrong_secret_is_refused_when_the_pool_is_opened(servers, tmp_path):
    server = servers()
    wrong = secret_file(tmp_path, "another")
    with within(10), pytest.raises(LauncherUnavailable, match="refuses the secret"):
        remote(wrong, server)


def test_an_unreachable_server_is_named_when_the_pool_is_opened(secret):
    address = f"127.0.0.1:{free_port()}"
    with within(10), pytest.raises(LauncherUnavailable, match=f"{address}: Connection refused"):
        get_pool("parallel-python", workers=1, servers=(address,), secret_file=secret)


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-x\r\n"])
def test_what_is_no_ppserver_is_told_in_bounded_time(secret, says):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as connection:
                connection.sendall(says)
                with suppress(OSError):
                    connection.recv(1)

        threading.Thread(target=greet, daemon=True).start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with within(15), pytest.raises(LauncherUnavailable, match=address):
            get_pool("parallel-python", workers=0, servers=address, secret_file=secret)


def test_a_secret_is_asked_for_and_the_public_one_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("ANYPOOL_PPFT_SECRET", raising=False)
    with pytest.raises(LauncherUnavailable, match="ANYPOOL_PPFT_SECRET"):
        get_pool("ppft", servers="127.0.0.1:6")
    public = __import__("ppft").Server.default_secret
    with pytest.raises(LauncherUnavailable, match="ppft's source"):
        get_pool("ppft", servers="127.0.0.1:6", secret_file=secret_file(tmp_path, public))
    with pytest.raises(LauncherUnavailable, match="chmod 600"):
        get_pool("ppft", servers="127.0.0.1:6", secret_file=secret_file(tmp_path, mode=0o644))
    with pytest.raises(LauncherUnavailable, match="No such file"):
        get_pool("ppft", servers="127.0.0.1:6", secret_file=str(tmp_path / "none"))


def test_the_secret_may_be_in_the_environment_and_is_nowhere_else(servers, monkeypatch):
    server = servers()
    monkeypatch.setenv("ANYPOOL_PPFT_SECRET", SECRET)
    with get_pool("parallel-python", workers=0, servers=server.address) as pool:
        assert pool.map(abs, [-1]) == [1]
        assert SECRET not in f"{pool!r} {pool.launcher!r} {pool.plan}"
        assert SECRET.encode() not in pickle.dumps(pool.launcher)


@pytest.mark.parametrize("server", ["localhost", "n1:", "n1:0", "n1:65536", "127.0.0.1:x", "*:60000"])
def test_a_server_is_named_with_its_port(server):
    with pytest.raises(ValueError, match="host and port"):
        ParallelPython(servers=(server,))


def test_a_server_elsewhere_needs_a_network_that_is_trusted():
    with pytest.raises(ValueError, match="trust_network"):
        ParallelPython(servers=("localhost:60000", "192.0.2.1:60000"))
    assert not ParallelPython(servers=("192.0.2.1:60000",), trust_network=True).on_this_machine


def test_without_servers_there_is_at_least_one_worker():
    with pytest.raises(ValueError, match="at least 1"):
        ParallelPython(workers=0)


def test_the_text_of_a_recipe_with_servers_makes_it_again():
    recipe = ParallelPython(workers=0, servers=("127.0.0.1:60000", "localhost:60001"), secret_file="/a/b")
    assert plan_of(str(recipe)).levels == (recipe,)
