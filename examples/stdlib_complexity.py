"""Measure every file of the standard library: the same map on one core, on threads and on processes.

There is no `if __name__ == "__main__"` here: workers never run this file again, and the function, the
classes and the lambda below reach them by value.
"""

import ast
import gc
import sys
import sysconfig
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from anypool import get_pool

STDLIB = Path(sysconfig.get_path("stdlib"))
NOT_STDLIB = {"site-packages", "dist-packages", "__pycache__"}

# What adds one path through a function. `and`, `or` add one for each further operand.
BRANCHES = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.match_case
)  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Function:
    """A function, where it begins, and the number of independent paths through it."""

    complexity: int
    name: str
    line: int


@dataclass(frozen=True)
class Module:
    """One file; `problem` says why it could not be parsed."""

    path: Path
    lines: int
    functions: tuple[Function, ...]
    problem: str = ""


def measure(path: Path) -> Module:
    """Parse one file and compute the cyclomatic complexity of each of its functions."""
    # Some files are odd on purpose and parsing them warns. Set here, where it holds on any worker.
    warnings.simplefilter("ignore")
    source = path.read_bytes()
    lines = source.count(b"\n")
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError) as exc:
        return Module(path, lines, (), problem=f"{type(exc).__name__}: {exc}")
    return Module(path, lines, tuple(functions_of(tree)))


def functions_of(tree: ast.Module) -> list[Function]:
    """Return the functions in order of their lines; a nested one counts for itself, not for its parent."""
    complexity: dict[ast.AST, int] = {tree: 1}
    todo: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while todo:
        node, owner = todo.pop()
        if isinstance(node, FUNCTIONS):
            owner = node
            complexity[node] = 1
        complexity[owner] += paths_added(node)
        todo.extend((child, owner) for child in ast.iter_child_nodes(node))
    functions = [
        Function(count, node.name, node.lineno) for node, count in complexity.items() if isinstance(node, FUNCTIONS)
    ]
    return sorted(functions, key=lambda function: function.line)


def paths_added(node: ast.AST) -> int:
    """Return how many paths this node adds to the function it stands in."""
    if isinstance(node, BRANCHES):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return 0


def survey(launcher: str) -> tuple[list[Module], int, float]:
    """Measure all files with one kind of pool; return the modules, the workers and the seconds it took."""
    start = time.perf_counter()
    with get_pool(launcher) as pool:
        paths = sorted(STDLIB.rglob("*.py"))
        wanted = pool.map(lambda path: NOT_STDLIB.isdisjoint(path.parts), paths)
        files = [path for path, keep in zip(paths, wanted, strict=True) if keep]
        modules = pool.map(measure, files, progress=True)
        workers = len(pool)
    return modules, workers, time.perf_counter() - start


def show(modules: list[Module]) -> None:
    """Print the totals and the ten most complex functions."""
    functions = [(function, module) for module in modules for function in module.functions]
    functions.sort(key=lambda pair: pair[0].complexity, reverse=True)
    problems = sum(1 for module in modules if module.problem)
    print(f"The standard library of Python {sys.version.split()[0]}: {len(modules):,} files,")
    print(f"{sum(m.lines for m in modules):,} lines, {len(functions):,} functions; ", end="")
    print(f"{problems} of the files are no valid Python.\n")
    print(f"{'complexity':>10}  function")
    for function, module in functions[:10]:
        place = f"{module.path.relative_to(STDLIB)}:{function.line}"
        print(f"{function.complexity:>10}  {function.name}  ({place})")


results, table = [], []
for launcher in ("serial", "thread", "process"):
    print(f"{launcher} ...", file=sys.stderr)
    modules, workers, seconds = survey(launcher)
    results.append(modules)
    table.append((launcher, workers, seconds))
    gc.freeze()  # or each later pool pays for garbage collections that visit the earlier results

show(results[0])
print(f"\n{'pool':<10}{'workers':>8}{'seconds':>9}{'speed-up':>10}")
for launcher, workers, seconds in table:
    print(f"{launcher:<10}{workers:>8}{seconds:>9.2f}{table[0][2] / seconds:>10.2f}")

if any(modules != results[0] for modules in results):
    sys.exit("the results differ")
print(f"\nAll {len(results)} results are equal.")
