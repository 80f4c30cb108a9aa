"""Where classes live: by reference, by value, over forks."""

import gc
import importlib.util
import os
import subprocess
import sys
import types
import weakref
from typing import Any

import pytest

from anypool_serialize import copy, dumps, explain, pickles, register_by_value, unregister_by_value


def load_from(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_module_that_no_import_finds_goes_by_value(tmp_path, monkeypatch):
    path = tmp_path / "hidden_module.py"
    path.write_text("class Thing: pass\ndef make(): return Thing()\n")
    monkeypatch.delitem(sys.modules, "hidden_module", raising=False)
    module = load_from(path, "hidden_module")
    assert b"co_" not in dumps(module.make).header
    assert len(dumps(module.make).header) > 300
    assert type(copy(module.make)()) is module.Thing


def test_a_registered_module_goes_by_value_with_its_submodules():
    from xml.sax.saxutils import escape

    by_name = len(dumps(escape).header)
    register_by_value("xml.sax")
    try:
        assert len(dumps(escape).header) > by_name * 5
        assert copy(escape)("<") == "&lt;"
    finally:
        unregister_by_value("xml.sax")
    assert len(dumps(escape).header) == by_name


def test_registering_names_the_module_that_is_missing():
    with pytest.raises(ValueError, match="'never_seen' is not imported"):
        register_by_value("never_seen")
    with pytest.raises(ValueError, match="'json' is not registered"):
        unregister_by_value("json")


def test_registering_refuses_what_has_no_code_to_send():
    not_a_module: Any = 5
    with pytest.raises(TypeError, match="a module or its name is registered by value, got 5"):
        register_by_value(not_a_module)
    with pytest.raises(TypeError, match="got 5"):
        unregister_by_value(not_a_module)
    for name in ("math", "_pickle", "sys"):
        importlib.import_module(name)
        with pytest.raises(ValueError, match=f"'{name}' is not written in Python"):
            register_by_value(name)


def test_a_module_made_at_run_time_travels_with_what_it_holds():
    module = types.ModuleType("made_here")
    exec("value = 3\ndef get(): return value\nimport sys\nme = sys.modules", module.__dict__)
    del module.me
    module.__dict__["itself"] = module
    twin = copy(module)
    assert twin is not module
    assert twin.get() == 3
    assert twin.itself is twin


def test_a_class_under_another_name_goes_by_that_name():
    import _thread

    assert copy(_thread.LockType) is _thread.LockType


def test_a_class_made_at_run_time_under_a_global_arrives_as_itself(script, tmp_path):
    (tmp_path / "changing.py").write_text(
        "class Default: who = 'default'\nImpl = Default\n"
        "def install():\n    global Impl\n    Impl = type('Custom', (Default,), {'who': 'custom'})\n    return Impl\n"
    )
    script("""
        import os, changing
        os.environ["PYTHONPATH"] += os.pathsep + os.getcwd()
        from peer import Peer
        Custom = changing.install()
        with Peer() as there:
            assert there.call(lambda c: c.who, Custom) == "custom"
    """)


def test_a_metaclass_that_told_pickle_how_is_asked(script, tmp_path):
    (tmp_path / "factory.py").write_text(
        "import copyreg\nclass Meta(type): pass\ncache = {}\n"
        "def sized(n):\n"
        "    if n not in cache:\n"
        "        cache[n] = Meta('Sized', (), {'n': n, '__module__': __name__})\n"
        "    return cache[n]\n"
        "copyreg.pickle(Meta, lambda cls: (sized, (cls.n,)))\n"
    )
    script("""
        import os, factory
        os.environ["PYTHONPATH"] += os.pathsep + os.getcwd()
        from peer import Peer
        with Peer() as there:
            assert there.call(lambda cls: cls is __import__("factory").sized(3), factory.sized(3))
    """)


def local_class() -> Any:
    class Local:
        pass

    return Local


def class_of_a_module() -> Any:
    return type("Made", (), {"__module__": __name__})


def class_that_does_not_travel() -> Any:
    class Local:
        def __init__(self):
            self.refused = (n for n in "")

    return Local


@pytest.mark.parametrize("make", [local_class, class_of_a_module, class_that_does_not_travel])
@pytest.mark.parametrize("send", [pickles, explain])
def test_sending_keeps_no_class_alive(make, send):
    made = make()
    send(made())
    ref = weakref.ref(made)
    del made
    gc.collect()
    assert ref() is None


def test_forked_processes_never_give_one_number_to_two_classes(script):
    script("""
        import os, pickle
        import anypool_serialize as s
        from anypool_serialize import _tracking
        s.dumps(type("Before", (), {}))
        tracks = []
        for name in ("A", "B"):
            r, w = os.pipe()
            if os.fork() == 0:
                made = type(name, (), {"tag": name})
                os.write(w, s.dumps(made).header)
                os._exit(0)
            os.close(w)
            tracks.append(s.loads(os.fdopen(r, "rb").read()))
            os.wait()
        assert [cls.tag for cls in tracks] == ["A", "B"]
    """)


def test_a_forked_child_sends_instances_home(script):
    script("""
        import os
        import anypool_serialize as s
        class Here: pass
        s.dumps(Here)
        r, w = os.pipe()
        if os.fork() == 0:
            Here.changed = True
            os.write(w, s.dumps(Here()).header)
            os._exit(0)
        os.close(w)
        back = s.loads(os.fdopen(r, "rb").read())
        os.wait()
        assert type(back) is Here and not hasattr(Here, "changed")
    """)


def test_two_peers_each_keep_one_class_and_the_owner_its_own(script):
    script("""
        from peer import Peer
        class Here:
            def __init__(self, n): self.n = n
        with Peer() as first, Peer() as second:
            one = first.call(lambda: Here(1))
            two = second.call(lambda x: Here(x.n + 1), one)
            assert type(one) is type(two) is Here
            assert first.call(lambda x: type(x) is Here, two)
    """)


def test_a_class_made_there_is_one_class_here(script):
    script("""
        from peer import Peer
        def make():
            import sys
            if not hasattr(sys, "made"):
                sys.made = type("Made", (), {"__module__": "__main__", "x": 1})
            return sys.made()
        with Peer() as there:
            first, second = there.call(make), there.call(make)
            assert type(first) is type(second)
            assert there.call(lambda x: type(x) is __import__("sys").made, first)
    """)


@pytest.mark.parametrize("how", ["file", "-c", "stdin", "-m"])
def test_main_is_by_value_however_python_was_started(how, tmp_path):
    text = (
        "from peer import Peer\nclass Here: pass\ndef f(x): return Here, x + 1\n"
        "with Peer() as there:\n    cls, n = there.call(f, 1)\n\n"
        "assert cls is Here and n == 2\nprint('fine')\n"
    )
    (tmp_path / "started.py").write_text(text)
    command = {
        "file": [str(tmp_path / "started.py")],
        "-c": ["-c", text],
        "stdin": ["-"],
        "-m": ["-m", "started"],
    }[how]
    path = [os.path.dirname(__file__), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, *command],
        input=text,
        text=True,
        capture_output=True,
        env=env,
        timeout=60,
        check=False,
    )
    assert done.stdout == "fine\n", done.stderr


def test_proxies_of_managers_travel(script):
    script("""
        import multiprocessing, anypool_serialize as s
        if __name__ == "__main__":
            with multiprocessing.Manager() as manager:
                q, lock, d = manager.Queue(), manager.Lock(), manager.dict()
                q2, lock2, d2 = s.loads(s.dumps((q, lock, d)))
                q2.put(3); d2["x"] = 1
                assert q.get(timeout=5) == 3 and d["x"] == 1
                with lock2:
                    assert not lock.acquire(False)
    """)
