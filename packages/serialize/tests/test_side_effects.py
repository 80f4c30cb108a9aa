"""Importing and using the package leaves everything else as it was (A19), and stays light."""

import inspect

import cloudpickle.cloudpickle


def test_importing_loads_neither_dill_nor_cloudpickle_nor_numpy_nor_typing(script):
    script("""
        import sys
        before = set(sys.modules)
        import anypool_serialize
        heavy = {"dill", "cloudpickle", "numpy", "typing", "pickle", "subprocess", "inspect", "dis"}
        assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
    """)


def test_data_and_importable_functions_need_no_cloudpickle_and_arriving_functions_neither(script):
    script("""
        import sys, functools, json, decimal
        import anypool_serialize as s
        class Here: pass
        s.dumps([json.dumps, functools.partial(int, base=2), decimal.Decimal(1), json.JSONEncoder, sys])
        assert "cloudpickle" not in sys.modules
        from peer import Peer
        with Peer() as there:
            assert there.call(lambda: 3) == 3
            assert there.call(lambda: Here.__name__) == "Here"
            assert there.call(lambda: sorted({"dill", "cloudpickle"} & set(sys.modules))) == []
        assert "dill" not in sys.modules
    """)


def test_the_table_of_the_standard_pickler_is_unchanged_by_import_and_by_use(script):
    script("""
        import pickle
        before = dict(pickle._Pickler.dispatch)
        import anypool_serialize as s
        assert pickle._Pickler.dispatch == before
        import sys, warnings
        warnings.simplefilter("ignore")
        s.copy(open(__file__)).close()
        assert "dill" in sys.modules
        assert pickle._Pickler.dispatch == before
        from anypool_serialize import tools
        assert tools.loads(tools.dumps(lambda: 5))() == 5
        assert pickle._Pickler.dispatch == before
        assert pickle.loads(pickle._dumps({1: [2]})) == {1: [2]}
    """)


def test_dill_that_the_user_imported_stays_as_the_user_wanted_it(script):
    script("""
        import pickle, dill, warnings
        warnings.simplefilter("ignore")
        before = dict(pickle._Pickler.dispatch)
        import anypool_serialize as s
        s.copy(open(__file__)).close()
        assert pickle._Pickler.dispatch == before
    """)


def test_many_threads_may_be_the_first_to_need_dill(script):
    script("""
        import pickle, warnings
        warnings.simplefilter("ignore")
        from concurrent.futures import ThreadPoolExecutor
        import anypool_serialize as s
        before = dict(pickle._Pickler.dispatch)
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda _: s.copy([open(__file__)])[0].close(), range(64)))
        assert len(done) == 64 and pickle._Pickler.dispatch == before
    """)


def test_cloudpickle_has_the_private_names_that_are_used():
    module = cloudpickle.cloudpickle
    for name in ("_code_reduce", "_class_getstate", "_enum_getstate"):
        assert list(inspect.signature(getattr(module, name)).parameters) in (["co"], ["obj"])
    table = module.Pickler._dispatch_table
    views = [type({}.keys()), type({}.values()), type({}.items())]
    for kind in [property, classmethod, staticmethod, type(vars(int)), *views]:
        assert kind in table
