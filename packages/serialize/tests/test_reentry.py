"""Finalizers, signal handlers and other threads may send while something is being sent."""


def test_a_finalizer_that_the_collector_runs_may_send_a_class(script):
    script("""
        import faulthandler
        faulthandler.dump_traceback_later(30, exit=True)
        from anypool_serialize import dumps
        def make():
            class Local: pass
            return Local
        class Resource:
            def __init__(self): self.me = self
            def __del__(self): dumps(make())
        dumps(make()())
        for i in range(8000):
            Resource()
            rest = [[] for _ in range(i % 97)]
            dumps(make())
    """)


def test_a_class_that_is_sent_again_while_it_gets_its_number_has_one_number(script):
    script("""
        from anypool_serialize import _tracking
        class Here: pass
        inner = []
        plain = _tracking._reference
        def interrupted(track, obj):
            if not inner:
                inner.append(None)
                inner[0] = _tracking.identify(obj)
            return plain(track, obj)
        _tracking._reference = interrupted
        assert _tracking.identify(Here) == inner[0] == _tracking.identify(Here)
    """)


def test_the_fixed_reducers_are_there_while_many_types_go_by(script):
    script("""
        from types import FunctionType
        from anypool_serialize import _pickler
        missed = []
        class Watched(_pickler._Reducers):
            def pop(self, kind, default):
                missed.extend(fixed for fixed in _pickler._FIXED if not dict.__contains__(self, fixed))
                return super().pop(kind, default)
            def clear(self):
                raise AssertionError("other threads find an empty table")
        table = Watched(_pickler._FIXED)
        for i in range(2 * table.limit):
            table[type(f"Made{i}", (), {"__module__": "elsewhere"})]
        assert not missed and table[FunctionType] is _pickler._FIXED[FunctionType] and len(table) <= table.limit
    """)
