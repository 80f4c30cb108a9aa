"""Dill's settings, sessions, source and trace."""

import os
import stat

import pytest

import anypool_serialize
from anypool_serialize import AnypoolError, tools


def test_settings_are_arguments(tmp_path):
    path = tmp_path / "text"
    path.write_text("abc")
    with open(path) as file:
        contents = tools.dumps(file, fmode="file")
    assert len(contents) > len(tools.dumps(1))
    assert tools.loads(tools.dumps([lambda: 4], recurse=False))[0]() == 4
    with pytest.raises(ValueError, match="fmode is 'other'; it must be one of 'handle'"):
        tools.dumps(1, fmode="other")  # type: ignore[arg-type]


def test_a_session_is_saved_and_restored_in_another_interpreter(script, tmp_path):
    path = tmp_path / "session"
    script(
        """
        import sys, math
        from anypool_serialize import tools
        x = [1, 2]
        def f(n): return math.sqrt(n) + len(x)
        class C: y = 5
        c = C()
        tools.save_session(sys.argv[1])
        """,
        str(path),
    )
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    script(
        """
        import sys
        from anypool_serialize import tools
        tools.restore_session(sys.argv[1])
        assert f(16) == 6.0 and c.y == 5 and type(c) is C
        """,
        str(path),
    )


def test_a_failed_save_leaves_the_older_session(script, tmp_path):
    path = tmp_path / "session"
    script(
        """
        import os, sys
        from anypool_serialize import tools
        x = 1
        tools.save_session(sys.argv[1])
        before = open(sys.argv[1], "rb").read()
        g = (i for i in ())
        try:
            tools.save_session(sys.argv[1])
        except Exception:
            pass
        else:
            raise SystemExit("a generator was saved")
        assert open(sys.argv[1], "rb").read() == before
        assert len([n for n in os.listdir(os.path.dirname(sys.argv[1])) if "session" in n]) == 1
        """,
        str(path),
    )


def test_links_are_replaced_when_saving_and_refused_when_restoring(tmp_path, script):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(victim)
    with pytest.raises(AnypoolError, match="a symbolic link"):
        tools.restore_session(link)
    script("import sys\nfrom anypool_serialize import tools\ntools.save_session(sys.argv[1])\n", str(link))
    assert victim.read_text() == "precious"
    assert not link.is_symlink()


def test_a_session_that_others_may_write_is_refused(tmp_path):
    path = tmp_path / "session"
    path.write_bytes(b"x")
    path.chmod(0o666)
    with pytest.raises(AnypoolError, match="can be written by others"):
        tools.restore_session(path)


def test_source_helpers_give_text_that_runs():
    def double(x):
        return 2 * x

    assert tools.source(double).strip().startswith("def double(x):")
    assert tools.importable(os.path.join).startswith("from posixpath import join")


def test_trace_draws_the_tree_of_what_dill_pickles(tmp_path):
    path = tmp_path / "trace"
    with tools.trace(path):
        tools.dumps(lambda: 1)
    text = path.read_text()
    assert "┬ F1: <function" in text
    tools.dumps(lambda: 2)
    assert path.read_text() == text


def test_the_tools_are_an_attribute_of_the_package_and_show_their_own_names_only(monkeypatch):
    monkeypatch.delattr(anypool_serialize, "tools")
    assert "tools" in dir(anypool_serialize)
    assert anypool_serialize.tools is tools
    assert dir(tools) == sorted(tools.__all__)
