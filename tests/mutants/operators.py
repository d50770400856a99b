"""The small faults that are put into a module, one at a time.

Left alone are: the text of errors (a message has no right value to compute), strings, annotations,
decorators, and `strict=` of `zip`, which guards against a caller that does not exist.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_OPPOSITES = {"min": "max", "minimum": "maximum", "any": "all", "floor": "ceil"}
_OPPOSITES |= {second: first for first, second in _OPPOSITES.items()}
_REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)
_ELSEWHERE = (ast.stmt, ast.ExceptHandler, ast.match_case, ast.JoinedStr)


@dataclass(frozen=True, eq=False)
class Mutant:
    """One fault: `field` of `node` becomes `value`."""

    key: str
    """The function, the line before and the line after; stays when other lines change."""

    statement: ast.stmt
    """The statement of the module in which it is."""

    lines: range
    node: ast.AST
    field: str
    value: Any

    def apply(self) -> None:
        """Change the tree, for good: meant for a process that ends afterwards."""
        setattr(self.node, self.field, self.value)


def mutants(tree: ast.Module) -> list[Mutant]:
    """Every fault that can be put into a module, in the order of its lines."""
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for top in tree.body:
        if isinstance(top, ast.If):  # of types, which no test runs
            continue
        for owner, statement in _statements(top, ""):
            for node, field, value in _faults(statement):
                key = f"{owner}: {_difference(statement, node, field, value)}"
                seen[key] += 1
                key += f" ({seen[key]})" if seen[key] > 1 else ""
                lines = _lines(statement, node, field, value)
                found.append(Mutant(key, top, lines, node, field, value))
    return found


def _statements(statement: ast.stmt, owner: str) -> Iterator[tuple[str, ast.stmt]]:
    """Every statement that computes, with the function or class that it is in."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        owner = f"{owner}.{statement.name}".lstrip(".")
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        return
    yield owner or "module", statement
    for child in ast.iter_child_nodes(statement):
        inner = child.body if isinstance(child, (ast.ExceptHandler, ast.match_case)) else [child]
        for item in inner:
            if isinstance(item, ast.stmt):
                yield from _statements(item, owner)


def _faults(statement: ast.stmt) -> Iterator[tuple[ast.AST, str, Any]]:
    if isinstance(statement, ast.Return) and ast.unparse(statement) not in (
        "return",
        "return None",
    ):
        yield statement, "value", ast.Constant(None)
    for field, body in ast.iter_fields(statement):
        for index, inner in enumerate(body if isinstance(body, list) else []):
            if isinstance(inner, _REMOVABLE) and not _is_docstring(inner):
                yield statement, field, [*body[:index], ast.Pass(), *body[index + 1 :]]
    if isinstance(statement, (ast.If, ast.While)) and isinstance(
        statement.test, (ast.Name, ast.Attribute, ast.Call)
    ):
        yield statement, "test", ast.UnaryOp(ast.Not(), statement.test)
    if isinstance(statement, ast.AugAssign) and type(statement.op) in _ARITHMETIC:
        yield statement, "op", _ARITHMETIC[type(statement.op)]()
    if not isinstance(statement, ast.Raise):
        for expression in _expressions(statement):
            yield from _operator_faults(expression)
            yield from _value_faults(expression)


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """Every expression below a node that is computed there, not in a statement of its body."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, _ELSEWHERE) or getattr(child, "arg", None) == "strict":
                continue
            if isinstance(child, ast.AST):
                yield child
                yield from _expressions(child)


def _operator_faults(node: ast.AST) -> Iterator[tuple[ast.AST, str, Any]]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield node, "ops", [*node.ops[:index], other(), *node.ops[index + 1 :]]
    elif isinstance(node, ast.BoolOp):
        yield node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        yield from _sign_faults(node)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield node, "op", _ARITHMETIC[type(node.op)]()


def _value_faults(node: ast.AST) -> Iterator[tuple[ast.AST, str, Any]]:
    if isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg not in (None, "strict"):
                yield node, "keywords", node.keywords[:index] + node.keywords[index + 1 :]
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        for value in _other_values(node.value):
            yield node, "value", value
    elif isinstance(node, (ast.Name, ast.Attribute)):
        field = "id" if isinstance(node, ast.Name) else "attr"
        if getattr(node, field) in _OPPOSITES:
            yield node, field, _OPPOSITES[getattr(node, field)]


def _sign_faults(node: ast.UnaryOp) -> Iterator[tuple[ast.AST, str, Any]]:
    if isinstance(node.op, (ast.Not, ast.Invert)):
        yield node, "operand", ast.UnaryOp(node.op, node.operand)
    elif isinstance(node.op, ast.USub):
        yield node, "op", ast.UAdd()


def _other_values(value: float) -> tuple[float, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value - 1, value + 1)
    return (value * 2,) if value else (1.0,)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _difference(statement: ast.stmt, node: ast.AST, field: str, value: Any) -> str:
    original = getattr(node, field)
    before = ast.unparse(statement).splitlines()
    setattr(node, field, value)
    after = ast.unparse(statement).splitlines()
    setattr(node, field, original)
    at = next(i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
    return f"`{before[at].strip()}` -> `{after[at].strip()}`"


def _lines(statement: ast.stmt, node: ast.AST, field: str, value: Any) -> range:
    """The lines that run if the fault does."""
    if node is statement and isinstance(value, list):  # a statement was removed
        pairs = zip(getattr(node, field), value, strict=True)
        (removed,) = (old for old, new in pairs if old is not new)
        return range(removed.lineno, removed.end_lineno + 1)
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        # a default is computed at import, and used wherever the function runs
        return range(statement.body[0].lineno, (statement.end_lineno or 0) + 1)
    return range(statement.lineno, (getattr(node, "end_lineno", None) or statement.lineno) + 1)
