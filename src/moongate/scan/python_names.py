"""What expressions of Python stand for: dotted names, followed through imports, and constants."""

from __future__ import annotations

import ast
import unicodedata
from typing import Final

MAX_CONSTANT_CHARS: Final = 1 << 16
_MAKERS = frozenset(
    "requests.Session requests.session httpx.Client httpx.AsyncClient aiohttp.ClientSession "  # noqa: SIM905
    "urllib3.PoolManager".split()
)


class Names:
    """Learns what names mean, then tells what expressions stand for."""

    def __init__(self) -> None:
        self.stars: list[str] = []
        """Modules whose names were all imported."""
        self.bound: set[str] = set()
        """Names that the source gives a meaning of its own."""
        self._names: dict[str, str] = {}
        self._constants: dict[str, str | None] = {}

    @property
    def imported(self) -> set[str]:
        return set(self._names.values()) | set(self.stars)

    def learn(self, node: ast.AST) -> None:
        match node:
            case ast.Import():
                for alias in node.names:
                    shown = alias.asname or alias.name.partition(".")[0]
                    self._names[shown] = alias.name if alias.asname else shown
            case ast.ImportFrom(module=str(module)):
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(module)
                    else:
                        self._names[alias.asname or alias.name] = f"{module}.{alias.name}"
            case ast.Assign(targets=[ast.Name(id=target)]) | ast.NamedExpr(target=ast.Name(id=target)):
                self._assign(target, node.value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                self._assign(target, value)
            case ast.withitem(context_expr=value, optional_vars=ast.Name(id=target)):
                self._assign(target, value)
            case ast.arg(arg=target) | ast.FunctionDef(name=target) | ast.ClassDef(name=target):
                self.bound.add(target)
            case ast.Name(id=target, ctx=ast.Store()):
                self.bound.add(target)

    def _assign(self, target: str, value: ast.expr) -> None:
        name = self.name(value)
        if not name and isinstance(value, ast.Call) and self.name(value.func) in _MAKERS:
            name = self.name(value.func)
        if name:
            self._names.setdefault(target, name)
        constant = self.constant(value)
        self._constants[target] = constant if self._constants.get(target, constant) == constant else None

    def name(self, node: ast.AST, depth: int = 12) -> str:
        """The dotted name that an expression stands for; empty if it is none."""
        if not depth:
            return ""
        match node:
            case ast.Name(id=shown):
                if shown in self._names:
                    return _borrowed(self._names[shown])
                return self._starred(unicodedata.normalize("NFKC", shown))
            case ast.Attribute(value=inner, attr=attribute):
                base = self.name(inner, depth - 1)
                if base and attribute == "__call__":
                    return base
                return _borrowed(f"{base}.{unicodedata.normalize('NFKC', attribute)}") if base else ""
            case ast.Subscript(value=inner, slice=index):
                return self._looked_up(inner, self.constant(index), depth)
            case ast.NamedExpr(value=inner):
                return self.name(inner, depth - 1)
            case ast.Call():
                return self._called(node, depth)
        return ""

    def _starred(self, shown: str) -> str:
        for module in self.stars:
            if module in _WELL_KNOWN and shown in _WELL_KNOWN[module]:
                return f"{module}.{shown}"
        return shown

    def _called(self, node: ast.Call, depth: int) -> str:
        first = self.constant(node.args[0]) if node.args else None
        second = self.constant(node.args[1]) if len(node.args) > 1 else None
        match self.name(node.func, depth - 1):
            case "__import__" | "importlib.import_module" | "importlib.__import__" | "builtins.__import__":
                return first or ""
            case "getattr" | "builtins.getattr" if second is not None:
                base = self.name(node.args[0], depth - 1)
                return f"{base}.{second}" if base else ""
            case "pkgutil.resolve_name" | "pydoc.locate" if first:
                return first.replace(":", ".")
            case "get_ipython":
                return "get_ipython"
            case "sys.modules.get" if first:
                return first
            case name if name.endswith(".__dict__.get") and first:
                return f"{name.removesuffix('.__dict__.get')}.{first}"
        return ""

    def _looked_up(self, inner: ast.expr, index: str | None, depth: int) -> str:
        if index is None:
            return ""
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name):
            if inner.func.id in {"globals", "locals"} and not inner.args:
                return self._names.get(index, index)
            if inner.func.id == "vars" and inner.args:
                base = self.name(inner.args[0], depth - 1)
                return f"{base}.{index}" if base else ""
        base = self.name(inner, depth - 1)
        if base == "sys.modules":
            return index
        if base.endswith(".__dict__"):
            return f"{base.removesuffix('.__dict__')}.{index}"
        if base in {"__builtins__", "builtins"}:
            return f"{base}.{index}"
        return ""

    def constant(self, node: ast.AST, depth: int = 12) -> str | None:
        """The text that an expression is, as far as that can be worked out."""
        if not depth:
            return None
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=shown):
                return self._constants.get(shown)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                one, other = self.constant(left, depth - 1), self.constant(right, depth - 1)
                whole = None if one is None or other is None else one + other
                return whole if whole is None or len(whole) < MAX_CONSTANT_CHARS else None
            case ast.Subscript(value=inner, slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp())):
                whole = self.constant(inner, depth - 1)
                return None if whole is None else whole[::-1]
            case (
                ast.JoinedStr(values=values)
                | ast.Call(
                    func=ast.Attribute(attr="join", value=ast.Constant(value="")),
                    args=[ast.List(elts=values) | ast.Tuple(elts=values)],
                )
            ):
                pieces = [self.constant(value, depth - 1) for value in values]
                return None if None in pieces else "".join(piece or "" for piece in pieces)
            case ast.Call(func=ast.Name(id="chr"), args=[ast.Constant(value=int(number))]):
                return chr(number) if 0 <= number < 0x110000 else None
            case ast.Call(func=ast.Attribute(attr="replace", value=inner), args=[old, new]):
                whole, one, other = (self.constant(part, depth - 1) for part in (inner, old, new))
                return whole.replace(one, other) if whole and one and other is not None else None
        return None


def _borrowed(name: str) -> str:
    """A module that another one has imported (`shutil.os.system`) by its own name."""
    parts = name.split(".")
    for place, part in enumerate(parts[1:], 1):
        if part in _BORROWED:
            return ".".join([part.lstrip("_"), *parts[place + 1 :]])
    return name


_BORROWED = frozenset(("os", "_os", "subprocess", "_subprocess"))
_WELL_KNOWN: Final = {
    module: frozenset(names.split())
    for module, names in {
        "os": "system popen execv execve execl execlp execvp execvpe spawnl spawnv posix_spawn startfile "
        "environ getenv",
        "subprocess": "Popen run call check_call check_output getoutput getstatusoutput",
        "pty": "spawn",
        "builtins": "exec eval compile __import__ getattr",
        "pickle": "load loads Unpickler",
        "marshal": "load loads",
        "ctypes": "CDLL cdll windll PyDLL CFUNCTYPE",
        "socket": "socket create_connection gethostbyname",
        "base64": "b64decode b85decode b32decode a85decode",
        "zlib": "decompress",
    }.items()
}
