"""What is set around a block of code (call attributes, a request): carried into threads, and ended.

Frameworks step a generator in several threads, each with a copy of the context, and generators that
are read in turn end in another order than they began. Python's `ContextVar.reset` raises in the
first case, and in the second sets again what is over.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, ParamSpec, TypeVar

from flytekitplugins.wbmon.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", bound="Block")

_LATER: tuple[Callable[[Any], bool], ...] = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def with_context(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs with the context variables that are set here, in whichever thread.

    Python gives them to the coroutines and tasks that a block starts and to `asyncio.to_thread`,
    but before 3.14 neither to a `threading.Thread` nor to the threads of an executor.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> tenant = contextvars.ContextVar("tenant")
    >>> token = tenant.set("acme")
    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(with_context(tenant.get)).result()
    'acme'

    Args:
        function: A plain function; it may run several times, and in several threads at once.

    Raises:
        ConfigError: If it is no function, or if it is a coroutine function or a generator, whose
            body runs later, in the context of who awaits or reads it.
    """
    if not callable(function):
        raise ConfigError(f"with_context must get a function, got {function!r}")
    # of an object that is called, its class has the function
    called = function if inspect.isroutine(function) else type(function).__call__
    if any(is_later(each) for is_later in _LATER for each in (function, called)):
        raise ConfigError(
            "with_context must get a plain function, got a coroutine function or a generator "
            f"({getattr(function, '__qualname__', function)}); wrap the function that the thread "
            "starts with, such as `lambda: asyncio.run(main())`"
        )
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # a copy each time, because a context can be entered only once at a time
        return context.copy().run(function, *args, **kwargs)

    return carried


class Block:
    """What a context variable holds while a block of code runs.

    Attributes:
        is_left: Whether the block has ended where the variable may still hold it, or hold it again.
        around: What counts instead of a block that is left; None if nothing does.
    """

    # class attributes as defaults: few blocks ever set them
    is_left = False
    around: Any = None


def innermost(variable: ContextVar[B | None]) -> B | None:
    """The block that the running code is in; None outside of one."""
    block = variable.get()
    while block is not None and block.is_left:
        block = block.around
    return block


def leave(variable: ContextVar[B | None], token: Token[B | None], block: B) -> None:
    """End a block, in whichever context and order; never raises.

    Args:
        variable: The variable that was set to the block.
        token: What setting it gave.
        block: The block.
    """
    # one within it, which goes on, stays the current one
    if not (variable.get() is block and restore(variable, token)):
        outer = token.old_value
        while isinstance(outer, Block) and outer.is_left:
            outer = outer.around
        block.is_left, block.around = True, outer if isinstance(outer, Block) else None


def restore(variable: ContextVar[R], token: Token[R]) -> bool:
    """Set a variable to what it was, unless it was set in another context, which this cannot reach.

    Returns:
        Whether it was set here.
    """
    try:
        variable.reset(token)
    except ValueError:
        return False
    return True
