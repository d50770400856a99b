"""What a script that runs as `__main__` defines, under the names by which a pod finds it.

Python calls the module of a script `__main__`, and flytekit names a task of it after the file of
its function's code. The code of a wrapper is in this package, where no pod finds the task.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flytekitplugins.wbmon.flyte import internals

F = TypeVar("F", bound=Callable[..., Any])

MAIN = "__main__"
_ENTRANCE = """
def around(body):
    def entrance(*args, **kwargs):
        return body(*args, **kwargs)
    return entrance
"""
_COROUTINE_ENTRANCE = """
def around(body):
    async def entrance(*args, **kwargs):
        return await body(*args, **kwargs)
    return entrance
"""


def found_as_its_function(wrapper: F) -> F:
    """The wrapper of a task's function, which flytekit takes for one of the function's own file.

    Only a function of `__main__` needs this. Its wrapper is called by a function whose code has the
    file of the wrapped one, and as its only line the first one of that, its decorator: a traceback
    shows where the call came in, and the lines of the wrapper as they are.

    Args:
        wrapper: Made with `functools.wraps`.
    """
    code = getattr(inspect.unwrap(wrapper), "__code__", None)
    if getattr(wrapper, "__module__", None) != MAIN or code is None:
        return wrapper
    is_coroutine = inspect.iscoroutinefunction(wrapper)
    tree = ast.parse(_COROUTINE_ENTRANCE if is_coroutine else _ENTRANCE)
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            # without columns, which would mark a part of a line that has nothing to do with it
            place: Any = node
            place.lineno = place.end_lineno = code.co_firstlineno
            place.col_offset = place.end_col_offset = -1
    namespace: dict[str, Any] = {"__name__": MAIN}
    exec(compile(tree, code.co_filename, "exec"), namespace)  # noqa: S102 - the text above
    entrance = namespace["around"](wrapper)
    entrance.__code__ = entrance.__code__.replace(co_name=code.co_name)
    return cast("F", functools.update_wrapper(entrance, wrapper))


def module_in_pod(thing: Any) -> str:
    """The module in which a pod finds a function or class; empty if there is none.

    A script has the name that flytekit gives it; a notebook has none.
    """
    module: str = getattr(thing, "__module__", None) or ""
    return internals.module_of_main(inspect.unwrap(thing)) if module == MAIN else module
