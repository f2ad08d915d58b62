"""Which code a job runs: an edit that can change its result changes the fingerprint, and few others do.

Every case is a small project that really runs: a script with a function `compute`, and modules of `classlens`. It is
written as text: `=== name`, then files (`--- x` is the script, `--- /a` lies in the root, all others in the package),
then an edit `>>> file: old -> new` (an empty old text appends).
"""

import ast
import copy
import inspect
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from conftest import CHECKOUT, copy_checkout, tiny_config

from classlens.config import load_config
from classlens.jobs import describe
from classlens.store.code import UNKEYED, UnkeyableCode, fingerprint
from classlens.store.key import static_key

F = """
from classlens.a import f
def compute(): return f()
"""

FINDING = """
=== function
--- a
def f(): return 1
>>> a: 1 -> 2

=== attribute of a module
--- x
from classlens import a
def compute(): return a.f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== dotted import
--- x
import classlens.a
def compute(): return classlens.a.f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== module under another name
--- x
import classlens.a as m
def compute(): return m.f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== function under another name
--- x
from classlens.a import f as g
def compute(): return g()
--- a
def f(): return 1
>>> a: 1 -> 2

=== alias of a module
--- x
import classlens.a
m = classlens.a
def compute(): return m.f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== alias of a function
--- a
from classlens import b
f = b.f
--- b
def f(): return 1
>>> b: 1 -> 2

=== lazy import
--- x
def compute():
    from classlens.a import f
    return f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== lazy dotted import
--- x
def compute():
    import classlens.a
    return classlens.a.f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== lazy import in a method
--- a
class C:
    def m(self):
        from .b import f
        return f()
def f(): return C().m()
--- b
def f(): return 1
>>> b: 1 -> 2

=== module that a module imports lazily for what it does
--- x
import sys
def compute():
    import classlens.a
    return sys.flag
--- a
import sys
sys.flag = 1
>>> a: 1 -> 2

=== relative import
--- a
from .p.b import f
--- p/__init__
--- p/b
from .c import f
--- p/c
def f(): return 1
>>> p/c: 1 -> 2

=== relative import of a module
--- a
from .p import b
def f(): return b.f()
--- p/__init__
--- p/b
from . import c
def f(): return c.f()
--- p/c
def f(): return 1
>>> p/c: 1 -> 2

=== relative import from above
--- a
from classlens.p.b import f
--- p/__init__
--- p/b
from ..c import f
--- c
def f(): return 1
>>> c: 1 -> 2

=== re-export
--- a
from classlens.p import f
--- p/__init__
from classlens.p.b import f
--- p/b
def f(): return 1
>>> p/b: 1 -> 2

=== re-export from elsewhere
--- a
from classlens.p import f
--- p/__init__
from classlens.p.b import f
--- p/b
def f(): return 1
--- p/c
def f(): return 2
>>> p/__init__: p.b -> p.c

=== re-export of a re-export under another name
--- a
from classlens.p import g as f
--- p/__init__
from .b import f as g
--- p/b
def f(): return 1
>>> p/b: 1 -> 2

=== re-export by the top package
--- x
import classlens
def compute(): return classlens.f()
--- __init__
from classlens.a import f
--- a
def f(): return 1
>>> a: 1 -> 2

=== re-export of a module by the top package
--- x
import classlens
def compute(): return classlens.m.f()
--- __init__
from classlens import a as m
--- a
def f(): return 1
>>> a: 1 -> 2

=== function named like a submodule
--- a
from classlens.p import f
--- p/__init__
from classlens.b import f
--- p/f
def other(): pass
--- b
def f(): return 1
>>> b: 1 -> 2

=== function named like a submodule, as an attribute
--- a
from classlens import p
def f(): return p.f()
--- p/__init__
def f(): return 1
--- p/f
def other(): pass
>>> p/__init__: 1 -> 2

=== module in the root
--- x
import helper
def compute(): return helper.f()
--- /helper
def f(): return 1
>>> /helper: 1 -> 2

=== module beside the script
--- x
from helper import f
def compute(): return f()
--- /workflow/scripts/helper
def f(): return 1
>>> /workflow/scripts/helper: 1 -> 2

=== folder beside the script
--- x
from lib import y
def compute(): return y.f()
--- /workflow/scripts/lib/y
def f(): return 1
>>> /workflow/scripts/lib/y: 1 -> 2

=== another script by its full name
--- x
from workflow.scripts.y import f
def compute(): return f()
--- /workflow/scripts/y
def f(): return 1
>>> /workflow/scripts/y: 1 -> 2

=== module named like a library
--- x
import torch
def compute(): return torch.f()
--- /workflow/scripts/torch
def f(): return 1
>>> /workflow/scripts/torch: 1 -> 2

=== import under a condition
--- a
import sys
if sys.maxsize > 0:
    from classlens.b import f
else:
    from classlens.c import f
--- b
def f(): return 1
--- c
def f(): return 3
>>> b: 1 -> 2

=== import under the other condition
--- a
import sys
if sys.maxsize < 0:
    from classlens.b import f
else:
    from classlens.c import f
--- b
def f(): return 1
--- c
def f(): return 3
>>> c: 3 -> 2

=== import that is tried and works
--- a
try:
    from classlens.b import f
except ImportError:
    from classlens.c import f
--- b
def f(): return 1
--- c
def f(): return 3
>>> b: 1 -> 2

=== import that is tried and fails
--- a
try:
    from classlens.b import f
except ImportError:
    from classlens.c import f
--- b
if True:
    raise ImportError
def f(): return 1
--- c
def f(): return 3
>>> c: 3 -> 2

=== import that is tried in a function
--- a
def f():
    try:
        from classlens.b import g
    except ImportError:
        from classlens.c import g
    return g()
--- b
def g(): return 1
--- c
def g(): return 3
>>> b: 1 -> 2

=== name that is imported twice
--- a
from classlens.b import f as g
X = g
from classlens.c import f as g
def f(): return X(), g()
--- b
def f(): return 1
--- c
def f(): return 3
>>> b: 1 -> 2

=== name that is imported twice, the other way round
--- a
from classlens.b import f
from classlens.c import f
--- b
def f(): return 1
--- c
def f(): return 3
>>> a: .b import f\\nfrom classlens.c -> .c import f\\nfrom classlens.b

=== name that is imported and defined
--- a
def f(): return 1
from classlens.b import f
--- b
def f(): return 3
>>> a: def f(): return 1\\nfrom classlens.b import f -> from classlens.b import f\\ndef f(): return 1

=== name of the module that one method imports for itself
--- a
from classlens.b import g
class C:
    def one(self):
        from classlens.c import g
        return g()
    def two(self): return g()
def f(): return C().two()
--- b
def g(): return 1
--- c
def g(): return 3
>>> b: 1 -> 2

=== import in a class
--- a
class C:
    from classlens.b import f
def f(): return C.f()
--- b
def f(): return 1
>>> b: 1 -> 2

=== import of a module in a class
--- a
class C:
    import classlens.b as m
def f(): return C().m.f()
--- b
def f(): return 1
>>> b: 1 -> 2

=== import that is global
--- a
def load():
    global g
    from classlens.b import f as g
def other(): return g()
def f():
    load()
    return other()
--- b
def f(): return 1
>>> b: 1 -> 2

=== modules that import names of each other
--- a
from classlens.b import g
def f(): return g()
--- b
try:
    from classlens.a import g
except ImportError:
    def g(): return 1
>>> b: 1 -> 2

=== modules that import each other
--- a
from classlens import b
def f(): return b.g()
def h(): return 1
--- b
from classlens import a
def g(): return a.h()
>>> a: 1 -> 2
"""

OBJECTS = """
=== name made at run time
--- x
from classlens import a
def compute(): return getattr(a, "F".lower())()
--- a
def f(): return 1
>>> a: 1 -> 2

=== name made at run time, of a re-export
--- x
from classlens import a
def compute(): return getattr(a, "F".lower())()
--- a
from classlens.b import f
--- b
def f(): return 1
>>> b: 1 -> 2

=== name made at run time, of a submodule
--- x
import classlens.c
from classlens import p
def compute(): return getattr(p, "B".lower()).f()
--- c
import classlens.p.b
--- p/__init__
--- p/b
def f(): return 1
>>> p/b: 1 -> 2

=== variables of a module
--- x
from classlens import a
def compute(): return vars(a)["F".lower()]()
--- a
def f(): return 1
>>> a: 1 -> 2

=== dictionary of a module
--- x
from classlens import a
def compute(): return a.__dict__["F".lower()]()
--- a
def f(): return 1
>>> a: 1 -> 2

=== module in a table
--- x
from classlens import a
TABLE = {1: a}
def compute(): return TABLE[1].f()
--- a
def f(): return 1
>>> a: 1 -> 2

=== module that a function returns
--- x
from classlens.b import module
def compute(): return module().f()
--- a
def f(): return 1
--- b
from classlens import a
def module(): return a
>>> a: 1 -> 2

=== module that answers for names
--- a
def __getattr__(name):
    if name == "f":
        return lambda: 1
    raise AttributeError
>>> a: 1 -> 2
"""

USES = """
=== decorator
--- a
from classlens.b import often
@often
def f(): return 3
--- b
def often(function): return lambda: function() * 1
>>> b: 1 -> 2

=== decorator with arguments
--- a
def often(times): return lambda function: lambda: function() * times
@often(times=1)
def f(): return 3
>>> a: 1 -> 2

=== default
--- a
SIZE = 1
def f(size=SIZE): return size
>>> a: 1 -> 2

=== default of a keyword
--- a
SIZE = 1
def f(*, size=SIZE): return size
>>> a: 1 -> 2

=== default of a lambda
--- a
SIZE = 1
f = lambda size=SIZE: size
>>> a: 1 -> 2

=== base class
--- a
from classlens.b import Base
class C(Base): pass
def f(): return C().m()
--- b
class Base:
    def m(self): return 1
>>> b: 1 -> 2

=== method of the base class
--- a
from classlens import b
class C(b.Base):
    def m(self): return [super().m()]
def f(): return C().m()
--- b
class Base:
    def m(self): return 1
>>> b: 1 -> 2

=== class attribute
--- a
class C:
    SIZE = 1
def f(): return C.SIZE
>>> a: 1 -> 2

=== property
--- a
class C:
    @property
    def size(self): return 1
def f(): return C().size
>>> a: 1 -> 2

=== operator
--- a
class C:
    def __add__(self, other): return 1 + other
def f(): return C() + 5
>>> a: 1 -> 2

=== context manager
--- a
class C:
    def __enter__(self): return 1
    def __exit__(self, *_): pass
def f():
    with C() as c:
        return c
>>> a: 1 -> 2

=== generator
--- a
def g(): yield 1
def f(): return list(g())
>>> a: 1 -> 2

=== coroutine
--- a
import asyncio
async def g(): return 1
def f(): return asyncio.run(g())
>>> a: 1 -> 2

=== named tuple
--- a
from typing import NamedTuple
class C(NamedTuple):
    size: int = 1
def f(): return C()
>>> a: 1 -> 2

=== enumeration
--- a
import enum
class C(enum.Enum):
    SIZE = 1
def f(): return C.SIZE.value
>>> a: 1 -> 2

=== exception
--- a
from classlens.b import Wrong
def f():
    try:
        raise Wrong
    except KeyError:
        return 1
    except Exception:
        return 2
--- b
class Wrong(ValueError): pass
>>> b: ValueError -> KeyError

=== field of a data class
--- a
from dataclasses import dataclass, field
from classlens.b import size
@dataclass
class C:
    size: int = field(default_factory=size)
def f(): return C()
--- b
def size(): return 1
>>> b: 1 -> 2

=== annotation in a data class
--- a
from dataclasses import dataclass, fields
from classlens.b import Size
@dataclass
class C:
    size: Size = 1
def f(): return [one.name for one in fields(C)]
--- b
from typing import ClassVar
Size = int
>>> b: = int -> = ClassVar

=== text of an annotation
--- a
from dataclasses import dataclass, fields
from typing import ClassVar
@dataclass
class C:
    size: "int" = 1
def f(): return [one.name for one in fields(C)]
>>> a: "int" -> "ClassVar[int]"

=== annotation that is evaluated
--- a
from classlens.b import SIZE
def f(x: SIZE = 0, *y: SIZE, z: SIZE = 0, **w) -> SIZE: return f.__annotations__
--- b
SIZE = 1
>>> b: 1 -> 2

=== annotation that a decorator reads
--- a
from __future__ import annotations
from functools import singledispatch
from classlens.b import Kind
@singledispatch
def g(x): return "any"
@g.register
def _(x: Kind): return "kind"
def f(): return g(1), g("1")
--- b
Kind = int
>>> b: int -> str

=== annotation that is read
--- a
def f(x: int = 0): return f.__annotations__
>>> a: def -> from __future__ import annotations\\ndef

=== type that is checked
--- a
from classlens.b import TYPES
def f(): return isinstance("", TYPES)
--- b
TYPES = (int, str)[:1]
>>> b: :1 -> :2

=== constant
--- a
SIZE = 1
def f(): return SIZE
>>> a: 1 -> 2

=== constant made of another
--- a
from classlens import b
TWICE = 2 * b.SIZE
def f(): return TWICE
--- b
SIZE = 1
>>> b: 1 -> 2

=== annotated constant
--- a
SIZE: int = 1
def f(): return SIZE
>>> a: 1 -> 2

=== several targets
--- a
X = Y = 5
(Z, *W), V = (1, 7), 8
def f(): return X, Y, Z, W, V
>>> a: 1 -> 2

=== text that is no docstring
--- a
def f(): return "text"
>>> a: text -> other

=== instance
--- a
class C:
    def m(self): return 1
c = C()
def f(): return c.m()
>>> a: 1 -> 2

=== table of functions
--- a
from classlens.b import f as g
TABLE = {"g": g}
def f(): return TABLE["g"]()
--- b
def f(): return 1
>>> b: 1 -> 2

=== partial function
--- a
from functools import partial
from classlens.b import g
h = partial(g, 5)
def f(): return h()
--- b
def g(x): return x + 1
>>> b: 1 -> 2

=== lambda
--- a
from classlens import b
f = lambda: b.f()
--- b
def f(): return 1
>>> b: 1 -> 2

=== nested function
--- a
from classlens import b
def f():
    def g():
        return [h() for h in (b.f,)]
    return g()
--- b
def f(): return 1
>>> b: 1 -> 2

=== comprehension
--- a
from classlens.b import f as g
def f(): return [{g() for _ in range(n)} for n in (1, 2)]
--- b
def f(): return 1
>>> b: 1 -> 2

=== constant made by a comprehension
--- a
from classlens.b import f as g
X = {n: g() for n in "ab" if g()}
def f(): return X
--- b
def f(): return 1
>>> b: 1 -> 2

=== key function
--- a
from classlens.b import key
def f(): return sorted([1, -2], key=key), max([3, 1], key=lambda x: key(x) % 3)
--- b
def key(x): return x ** 1
>>> b: 1 -> 2

=== operator of an object of the module
--- a
class C:
    def __or__(self, other): return other + 1
X = C() | 5
def f(): return X
>>> a: 1 -> 2

=== walrus
--- a
if (x := 1) > 0:
    pass
def f(): return x
>>> a: 1 -> 2

=== walrus in a default
--- a
def unused(x=(y := 1)): pass
def f(): return y
>>> a: 1 -> 2

=== walrus in a decorator
--- a
@(y := lambda function: 1)
def unused(): pass
def f(): return y(0)
>>> a: 1 -> 2

=== walrus in a base class
--- a
class Unused(y := int): pass
def f(): return y(1.5)
>>> a: int -> float

=== walrus in a comprehension
--- a
X = [y := z for z in (0, 1)]
def f(): return y
>>> a: 1 -> 2

=== walrus in a default of a lambda
--- a
g = lambda x=(y := 1): x
def f(): return y
>>> a: 1 -> 2

=== match
--- a
match {"k": [3, 5, 6], "m": 1}:
    case {"k": [first, *others], **rest} if first:
        last = 8
    case _ as whatever:
        pass
def f(): return first, others, rest, last
>>> a: 1 -> 2

=== captures of match from another module
--- a
from classlens.b import first, others, rest, point
def f(): return first, others, rest, point
--- b
match {"k": [3, 5, 6], "m": 1}:
    case {"k": [first, *others], **rest} as point:
        pass
>>> b: 1 -> 2

=== match in a function
--- a
from classlens.b import C
def f():
    match C():
        case C(1):
            return 1
        case C():
            return 2
--- b
class C:
    __match_args__ = ("x",)
    x = 1
>>> b: x = 1 -> x = 2

=== for
--- a
for i in range(3):
    last = i * 5
else:
    done = last
def f(): return done
>>> a: 5 -> 6

=== while
--- a
i = 0
while i < 5:
    i += 1
    if i % 4 == 0:
        break
def f(): return i
>>> a: 4 -> 3

=== with
--- a
import contextlib
with contextlib.nullcontext(1) as x:
    y = [x]
def f(): return x, y
>>> a: 1 -> 2

=== definition under a condition
--- a
import sys
if sys.maxsize > 0:
    def f(): return 1
else:
    def f(): return 3
>>> a: 1 -> 2

=== second definition
--- a
def f(): return 1
def f(): return 3
>>> a: 3 -> 2

=== definitions of one name in another order
--- a
def f(): return 1
def f(): return 3
>>> a: 1\\ndef f(): return 3 -> 3\\ndef f(): return 1

=== error that is caught
--- a
try:
    y = int("x")
except ValueError as error:
    y = 1
def f(): return y
>>> a: 1 -> 2
"""

STATE = """
=== global
--- a
COUNT = 0
def count():
    global COUNT
    COUNT += 1
def f():
    count()
    return COUNT
>>> a: 1 -> 2

=== global that only a function binds
--- x
from classlens import a
def compute():
    a.count()
    return a.COUNT
--- a
def count():
    global COUNT
    COUNT = 1
>>> a: 1 -> 2

=== global that a class binds
--- a
class C:
    global SIZE
    SIZE = 1
def f(): return SIZE
>>> a: 1 -> 2

=== augmented assignment
--- a
X = [3]
X += [1]
def f(): return X
>>> a: 1 -> 2

=== augmented assignment to another name of a list
--- a
X = [3]
Y = X
Y += [1]
def f(): return X
>>> a: 1 -> 2

=== del of an item
--- a
X = [3, 4]
del X[0]
def f(): return X
>>> a: del X[0] -> del X[1]

=== del of a name
--- a
len = lambda x: 5
del len
def f(): return len("abc")
>>> a: del len -> pass

=== attribute of a function
--- a
def f(): return f.size
f.size = 1
>>> a: 1 -> 2

=== item that is taken from an iterator
--- a
I = iter("abc")
X = next(I)
Y = next(I)
def f(): return Y
>>> a: X = next(I) -> pass

=== items that are taken from an iterator by a call
--- a
I = iter("abc")
X = list(I)
Y = list(I)
def f(): return Y
>>> a: X = list(I) -> pass

=== items that are taken from an iterator by a star
--- a
I = iter("abc")
X = [*I]
Y = [*I]
def f(): return Y
>>> a: X = [*I] -> pass

=== items that are taken from an iterator by a comprehension
--- a
I = iter("abc")
X = [x for x in I]
Y = [x for x in I]
def f(): return Y
>>> a: X = [x for x in I] -> pass

=== items that are taken from an iterator by several targets
--- a
I = iter("ab")
W, X = I
Y = [x for x in I]
def f(): return Y
>>> a: W, X = I -> pass

=== order of assignments
--- a
X = 3
Y = X
X = 4
def f(): return Y
>>> a: Y = X\\nX = 4 -> X = 4\\nY = X

=== order of an assignment and a change
--- a
X = [3]
Y = X[0]
X[0] = 4
def f(): return Y
>>> a: Y = X[0]\\nX[0] = 4 -> X[0] = 4\\nY = X[0]

=== order of a default and a change
--- a
X = [3]
def f(x=X[0]): return x
X[0] = 4
>>> a: def f(x=X[0]): return x\\nX[0] = 4 -> X[0] = 4\\ndef f(x=X[0]): return x

=== change of another module
--- x
import classlens.b
from classlens.a import f
def compute(): return f()
--- a
def f(): return g()
def g(): return 0
--- b
from classlens import a
a.g = lambda: 1
>>> b: 1 -> 2

=== change of another module by a function
--- x
from classlens import a, b
def compute():
    b.change()
    return a.f()
--- a
def f(): return g()
def g(): return 0
--- b
from classlens import a
def change(): a.g = lambda: 1
>>> b: 1 -> 2

=== change of a class
--- x
import classlens.b
from classlens.a import C
def compute(): return C().size
--- a
class C:
    size = 0
--- b
from classlens.a import C
C.size = 1
>>> b: 1 -> 2

=== change of another module by a call whose value is kept
--- x
import classlens.b
from classlens.a import f
def compute(): return f()
--- a
X = 0
def f(): return X
--- b
from classlens import a
_ = setattr(a, "X", 1)
>>> b: 1 -> 2
"""

REGISTERED = """
from classlens import a, b
def compute(): return a.ITEMS, sorted(a.TABLE), [function() for function in a.TABLE.values()]
"""
REGISTRY = """
TABLE = {}
ITEMS = []
def register(function):
    TABLE[function.__name__] = function
    return function
def note(value):
    ITEMS.append(value)
    return value
"""
# `b` is imported for what it does to the registry `a`; nothing of it is used by name.
REGISTERING = """
=== item
--- b
from classlens.a import TABLE
TABLE["f"] = lambda: 1
>>> b: 1 -> 2

=== call
--- b
from classlens import a
a.note(1)
>>> b: 1 -> 2

=== call of a method
--- b
from classlens.a import TABLE
TABLE.update(f=lambda: 1)
>>> b: 1 -> 2

=== call whose value is kept
--- b
from classlens.a import ITEMS
kept = ITEMS.append(1)
>>> b: 1 -> 2

=== call of a builtin with a function
--- b
from classlens import a
kept = tuple(map(a.note, [1, 5]))
>>> b: 1 -> 2

=== call of a library with a function
--- b
import functools
from classlens import a
kept = functools.reduce(lambda x, y: a.note(y), [5, 1])
>>> b: 1 -> 2

=== call in an annotated assignment
--- b
from classlens import a
kept: int = a.note(1)
>>> b: 1 -> 2

=== call in an annotation
--- b
from classlens import a
kept: a.note(1) = 0
>>> b: 1 -> 2

=== call in an annotation of a function
--- b
from __future__ import division
from classlens import a
def unused(x: a.note(1)): pass
>>> b: 1 -> 2

=== call in a comprehension
--- b
from classlens import a
kept = [a.note(x) for x in (1, 5)]
>>> b: 1 -> 2

=== call in a string
--- b
from classlens import a
kept = f"{a.note(1)}"
>>> b: 1 -> 2

=== call in a default
--- b
from classlens import a
def unused(x=a.note(1)): pass
>>> b: 1 -> 2

=== call in a default of a method
--- b
from classlens import a
class C:
    def unused(self, *, x=a.note(1)): pass
>>> b: 1 -> 2

=== call in a default of a lambda
--- b
from classlens import a
unused = lambda x=a.note(1): x
>>> b: 1 -> 2

=== call in an argument of a pure decorator
--- b
import functools
from classlens import a
@functools.lru_cache(maxsize=a.note(1))
def unused(): pass
>>> b: 1 -> 2

=== decorator of a function
--- b
from classlens.a import register
@register
def f(): return 1
>>> b: 1 -> 2

=== decorator of a method
--- b
from classlens.a import register
class C:
    @register
    def f(): return 1
>>> b: 1 -> 2

=== decorator of a class
--- b
from classlens.a import register
@register
class C:
    def __repr__(self): return "1"
>>> b: 1 -> 2

=== decorator named like a pure one
--- b
from classlens.a import register as cache
@cache
def f(): return 1
>>> b: 1 -> 2

=== decorator named like a builtin one
--- b
from classlens.a import register as staticmethod
@staticmethod
def f(): return 1
>>> b: 1 -> 2

=== own decorator named like a builtin one
--- b
from classlens import a
def property(function): a.ITEMS.append(1)
@property
def f(): pass
>>> b: 1 -> 2

=== decorator that is a pure one under a condition
--- b
from classlens import a
if a:
    from classlens.a import register as cache
else:
    from functools import cache
@cache
def f(): return 1
>>> b: 1 -> 2

=== attribute named like a pure decorator
--- b
from classlens.c import cache
@cache.property
def f(): return 1
--- c
from classlens import a
class cache:
    property = a.register
>>> b: 1 -> 2

=== class body
--- b
from classlens import a
class C:
    a.ITEMS.append(1)
>>> b: 1 -> 2

=== attribute of a class
--- b
from classlens import a
class C:
    size = a.note(1)
>>> b: 1 -> 2

=== class in a class
--- b
from classlens import a
class C:
    class D:
        if True:
            a.note(1)
>>> b: 1 -> 2

=== descriptor
--- b
from classlens.c import Field
class C:
    size_1 = Field()
--- c
from classlens import a
class Field:
    def __set_name__(self, owner, name): a.note(name)
>>> b: 1 -> 2

=== base class that keeps its subclasses
--- b
from classlens.c import Base
class C(Base):
    size = 1
--- c
from classlens import a
class Base:
    def __init_subclass__(cls): a.note(cls.size)
>>> b: 1 -> 2

=== generic base class that keeps its subclasses
--- b
from classlens.c import Base
class C(Base[int]):
    size = 1
--- c
from typing import Generic, TypeVar
from classlens import a
T = TypeVar("T")
class Base(Generic[T]):
    def __init_subclass__(cls): a.note(cls.size)
>>> b: 1 -> 2

=== base class that tells its subclasses
--- x
from classlens import b
from classlens.c import Base
def compute(): return [C.size for C in Base.__subclasses__()]
--- b
from classlens.c import Base
class C(Base):
    size = 1
--- c
class Base: pass
>>> b: 1 -> 2

=== base class of a library that tells its subclasses
--- x
from classlens import b
from string import Formatter
def compute(): return [C.size for C in Formatter.__subclasses__()]
--- b
from string import Formatter
class C(Formatter):
    size = 1
>>> b: 1 -> 2

=== metaclass
--- b
from classlens.c import Meta
class C(metaclass=Meta):
    size = 1
--- c
from classlens import a
class Meta(type):
    def __init__(cls, *_): a.note(cls.size)
>>> b: 1 -> 2

=== augmented assignment to an imported list
--- b
from classlens.a import ITEMS
ITEMS += [1]
>>> b: 1 -> 2

=== loop
--- b
from classlens import a
for i in (1, 5):
    a.ITEMS.append(i)
>>> b: 1 -> 2

=== condition
--- b
from classlens import a
if a.note(1):
    pass
>>> b: 1 -> 2

=== assertion
--- b
from classlens import a
assert a.note(1)
>>> b: 1 -> 2

=== same statement twice
--- b
from classlens import a
a.note(5)
>>> b: -> a.note(5)

=== statements in another order
--- b
from classlens import a
a.note(5)
a.note(6)
>>> b: a.note(5)\\na.note(6) -> a.note(6)\\na.note(5)

=== imports in another order
--- b
import classlens.c
import classlens.d
--- c
from classlens import a
a.note(5)
--- d
from classlens import a
a.note(6)
>>> b: classlens.c\\nimport classlens.d -> classlens.d\\nimport classlens.c

=== imports further away in another order
--- b
from classlens import e, d
--- c
from classlens import a
a.note(5)
--- d
from classlens import a
a.note(6)
--- e
from . import c
>>> b: e, d -> d, e

=== import before or after a statement
--- b
from classlens import a
a.note(5)
from classlens import c
--- c
from classlens import a
a.note(6)
>>> b: a.note(5)\\nfrom classlens import c -> from classlens import c\\na.note(5)

=== import for what it does under a condition
--- b
if True:
    import classlens.c
--- c
from classlens import a
a.note(1)
>>> c: 1 -> 2

=== import for what it does in a class
--- b
class C:
    import classlens.c
--- c
from classlens import a
a.note(1)
>>> c: 1 -> 2

=== classes that import, in another order
--- b
class C: import classlens.c
class D: import classlens.d
--- c
from classlens import a
a.note(5)
--- d
from classlens import a
a.note(6)
>>> b: classlens.c\\nclass D: import classlens.d -> classlens.d\\nclass D: import classlens.c

=== package of a module
--- b
from classlens.p.c import f
--- p/__init__
from classlens import a
a.note(1)
--- p/c
def f(): pass
>>> p/__init__: 1 -> 2

=== top package
--- b
--- __init__
from classlens import a
a.note(1)
>>> __init__: 1 -> 2

=== module beside the script that is imported for what it does
--- x
import helper
from classlens.a import ITEMS
def compute(): return ITEMS
--- b
--- /workflow/scripts/helper
from classlens.a import note
kept = note(1)
>>> /workflow/scripts/helper: 1 -> 2
"""

TYPES = """
=== else of what type checkers see
--- a
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from classlens.c import f
else:
    from classlens.b import f
--- b
def f(): return 1
>>> b: 1 -> 2

=== what type checkers do not see
--- a
import typing
if not typing.TYPE_CHECKING:
    from classlens.b import f
--- b
def f(): return 1
>>> b: 1 -> 2

=== else of what type checkers see in a function
--- a
import typing
def f():
    if typing.TYPE_CHECKING:
        g = None
    else:
        from classlens.b import f as g
    return g()
--- b
def f(): return 1
>>> b: 1 -> 2

=== else of what type checkers see in a class
--- a
import typing
class C:
    if typing.TYPE_CHECKING:
        from classlens.nowhere import f
    else:
        from classlens.b import f
def f(): return C.f()
--- b
def f(): return 1
>>> b: 1 -> 2

=== own variable named like that of type checkers
--- a
TYPE_CHECKING = True
if TYPE_CHECKING:
    X = 1
def f(): return X
>>> a: 1 -> 2

=== imported variable named like that of type checkers
--- a
from classlens.b import FLAG as TYPE_CHECKING
if TYPE_CHECKING:
    X = 1
def f(): return X
--- b
FLAG = True
>>> a: 1 -> 2
"""

SCRIPT = """
=== function of the script
--- x
def g(): return 1
def compute(): return g()
>>> x: 1 -> 2

=== statement of the script
--- x
X = []
X.append(1)
def compute(): return X
>>> x: 1 -> 2

=== order of statements of the script
--- x
X = [3]
Y = X[0]
X[0] = 4
def compute(): return Y
>>> x: Y = X[0]\\nX[0] = 4 -> X[0] = 4\\nY = X[0]
"""

HARMLESS = """
=== comment
--- a
def f(): return 1
>>> a: return 1 -> return 1  # one

=== blank lines, parentheses and quotes
--- a
def f(): return [1, "x"]
>>> a: return [1, "x"] -> \\n\\n    return ([\\n        1,\\n        'x',\\n    ])

=== new docstring of a module
--- a
def f(): return 1
>>> a: def -> '''A module.'''\\ndef

=== other docstring of a module
--- a
'''A module.'''
def f(): return 1
>>> a: A module -> Another

=== docstring of a function
--- a
def f():
    '''Return 1.'''
    return 1
>>> a: Return 1. -> Give 1.

=== new docstring of a function
--- a
def f():
    return 1
>>> a: return -> '''Return 1.'''\\n    return

=== docstring as the only statement
--- a
def f(): return g()
def g(): pass
>>> a: pass -> 'Nothing.'

=== docstring of a class
--- a
class C:
    '''A class.'''
    size = 1
    '''Its size.'''
def f(): return C.size
>>> a: Its size -> How large it is

=== function that is not used
--- a
def f(): return 1
def g(): return 3
>>> a: 3 -> 4

=== new function
--- a
def f(): return 1
>>> a: -> def g(): return f()

=== new function in front
--- a
SIZE = 1
def f(): return SIZE
>>> a: SIZE = 1 -> def g(): return f()\\nSIZE = 1

=== constant that is not used
--- a
def f(): return 1
X = 3
>>> a: 3 -> 4

=== class that is not used
--- a
def f(): return 1
class C(Exception):
    size = 3
    def m(self): return f()
>>> a: 3 -> 4

=== data class that is not used
--- a
from dataclasses import dataclass, field
def f(): return 1
@dataclass(frozen=True)
class C:
    size: list = field(default_factory=list)
    @property
    def twice(self): return 3
>>> a: 3 -> 4

=== function with a pure decorator that is not used
--- a
import functools
from contextlib import contextmanager
def f(): return 1
@functools.lru_cache(maxsize=None)
def g(): return 3
@contextmanager
def h(): yield
>>> a: 3 -> 4

=== partial function that is not used
--- a
from functools import partial
def f(): return 1
def g(x): return x
h = partial(g, 3)
>>> a: 3 -> 4

=== loggers
--- a
import logging
def f(): return 1
log = logging.getLogger("a")
>>> a: getLogger("a") -> getLogger("b")

=== order of functions
--- a
def f(): return g()
def g(): return 1
>>> a: def f(): return g()\\ndef g(): return 1 -> def g(): return 1\\ndef f(): return g()

=== order of functions beside a statement
--- a
X = []
X.append(3)
def f(): return g()
def g(): return X
>>> a: def f(): return g()\\ndef g(): return X -> def g(): return X\\ndef f(): return g()

=== order of constants
--- a
X = 3
Y = 4
def f(): return X, Y
>>> a: X = 3\\nY = 4 -> Y = 4\\nX = 3

=== order of imports of modules that do nothing
--- a
from classlens import b, c
def f(): return b.X, c.Y
--- b
X = 3
--- c
Y = 4
>>> a: b, c -> c, b

=== lines above a name that is imported twice
--- a
from classlens.b import f
from classlens.c import f
--- b
def f(): return 1
--- c
def f(): return 3
>>> a: from classlens.b -> # comment\\nfrom classlens.b

=== new import beside imports that do something
--- a
import classlens.c
from classlens import c
def f(): return 1
--- __init__
X = []
X.append(3)
--- b
--- c
from classlens import X
X.append(4)
>>> a: classlens import c -> classlens import c, b

=== new import
--- a
def f(): return 1
--- b
X = 3
>>> a: def -> from classlens.b import X\\ndef

=== module that is not imported
--- a
def f(): return 1
--- b
def f(): return 3
>>> b: 3 -> 4

=== new module
--- a
def f(): return 1
>>> b: -> raise ValueError

=== function of another module that is not used
--- a
from classlens.b import g
from classlens import b
def f(): return b.h()
--- b
def g(): return 3
def h(): return 1
>>> b: 3 -> 4

=== import that is not used
--- a
from classlens.b import g
from classlens import b
def f(): return 1
--- b
def g(): return 3
>>> b: 3 -> 4

=== re-export that is not used
--- a
from classlens.p import g
def f(): return g()
--- p/__init__
from classlens.p.b import g, h
--- p/b
def g(): return 1
def h(): return 3
>>> p/b: 3 -> 4

=== import for type checkers
--- a
from __future__ import annotations
from typing import TYPE_CHECKING
def f(x: B = 1): return x
>>> a: def -> if TYPE_CHECKING:\\n    from classlens.nowhere import B\\ndef

=== module that only type checkers import in a function
--- a
from typing import TYPE_CHECKING
def f():
    if TYPE_CHECKING:
        from classlens.nowhere import B
    return 1
--- b
X = 3
>>> b: 3 -> 4

=== module that only type checkers import
--- a
from __future__ import annotations
import typing
if typing.TYPE_CHECKING:
    from classlens.b import B
def f(x: B = 1) -> B:
    y: B = x
    return y
--- b
class B:
    size = 3
>>> b: 3 -> 4

=== class that only annotations name
--- a
from __future__ import annotations
from classlens.b import B
def f(x: B = 1) -> B:
    y: B = x
    return y
--- b
class B:
    size = 3
>>> b: 3 -> 4

=== code that cannot be followed and is not used
--- a
def f(): return 1
def g(): return eval("3")
>>> a: 3 -> 4

=== what talks to the user
--- a
from classlens.progress import Progress
def f(): return 1 if Progress else 2
--- progress
class Progress: size = 3
>>> progress: 3 -> 4

=== errors
--- a
from classlens import errors
def f(): return 1 if errors.InputError else 2
--- errors
class InputError(Exception): size = 3
>>> errors: 3 -> 4

=== how jobs are run
--- x
from _adapter import run
from classlens.a import f
def compute(): return f()
run(1, compute)
--- a
def f(): return 1
--- /workflow/scripts/_adapter
def run(x, compute): return 3
>>> /workflow/scripts/_adapter: 3 -> 4

=== another script
--- a
def f(): return 1
--- /workflow/scripts/y
def compute(): return 3
>>> /workflow/scripts/y: 3 -> 4

=== variables named like what is refused
--- a
def f(subprocess=1, eval_=2): return [sys for sys in (subprocess, eval_)]
def g(): return 3
>>> a: 3 -> 4

=== module of an object
--- a
import sys, decimal
def f(): return sys.modules[decimal.Decimal.__module__].ROUND_UP
def g(): return 3
>>> a: 3 -> 4

=== variable of a comprehension named like a function that is not used
--- a
def f(): return X
X = [g for g in (1, 2)]
def other():
    def g(): return 3
>>> a: 3 -> 4
"""

REFUSED = """
=== no Python
--- a
def f():
    return (1
>>> a, line 2: no valid Python: '(' was never closed

=== no Python, by a zero
--- a
def f(): return 1
X = "\0"
>>> a, line 0: no valid Python: source code string cannot contain null bytes

=== star import
--- a
import os
from classlens.b import *
--- b
def f(): return 1
>>> a, line 2: `from classlens.b import *` hides what is used; name it

=== relative star import
--- a
if True:
    from .b import *
--- b
def f(): return 1
>>> a, line 2: `from classlens.b import *` hides what is used; name it

=== star import of a library
--- x
from os.path import *
def compute(): return join("a", "b")
>>> x, line 1: `from os.path import *` hides what is used; name it

=== module that does not exist
--- a

from classlens.nowhere import f
>>> a, line 2: it imports classlens.nowhere, which does not exist

=== folder that is no package
--- a
import classlens.folder.b
--- folder/b
>>> a, line 1: it imports classlens.folder, which does not exist

=== function that does not exist
--- x

from classlens.a import f

def compute():
    return f()
--- a
def g(): return 1
>>> x, line 5: it takes f from classlens.a, which does not define it

=== attribute that does not exist
--- a
from classlens import b
def f():
    return 1 + \\
        b.nothing
--- b
>>> a, line 4: it takes nothing from classlens.b, which does not define it

=== relative import that leads out
--- a
from ..b import f
>>> a, line 1: a relative import leads out of the project; make it absolute

=== relative import in a script
--- x
from . import y
def compute(): return y
>>> x, line 1: a relative import leads out of the project; make it absolute

=== eval
--- a
def f():
    return eval("1")
>>> a, line 2: eval runs code that cannot be followed; import what is needed by name

=== exec, handed on
--- a
def f():
    return list(map(exec, ["1"]))
>>> a, line 2: exec runs code

=== exec, called by its method
--- a
def f(): exec.__call__("1")
>>> a, line 1: exec runs code

=== eval under another name
--- a
from builtins import eval as run
def f(): return run("1")
>>> a, line 2: eval runs code

=== eval as an attribute
--- a
import builtins as b
def f(): return b.eval("1")
>>> a, line 2: eval runs code

=== statement that runs when a module is imported
--- a
import classlens.b
def f(): return 1
--- b

exec("1")
>>> b, line 2: exec runs code

=== builtins as an object
--- a
import builtins
def f(): return getattr(builtins, "eval")("1")
>>> a, line 2: builtins runs code

=== importlib as an object
--- a
import importlib
def f(): return getattr(importlib, "import_module")("classlens.b")
>>> a, line 2: importlib hides what is used of it when it is handed on; name that

=== import_module
--- a
import importlib
def f(): return importlib.import_module("classlens.b")
>>> a, line 2: importlib.import_module runs code

=== import_module, imported
--- a
from importlib import import_module as load
X = load("classlens.b")
def f(): return X
>>> a, line 2: importlib.import_module runs code

=== import_module, imported lazily
--- a
def f():
    from importlib import import_module
    return import_module("classlens.b")
>>> a, line 3: importlib.import_module runs code

=== importlib under another name
--- a
import importlib as il
def f(): return il.import_module("classlens.b")
>>> a, line 2: importlib.import_module runs code

=== module from a file
--- a
from importlib import util
def f(): return util.spec_from_file_location("b", "b.py")
>>> a, line 2: importlib.util.spec_from_file_location runs code

=== runpy
--- a
import runpy
def f(): return runpy.run_path("b.py")
>>> a, line 2: runpy runs code

=== __import__
--- a
def f(): return __import__("classlens.b")
>>> a, line 1: __import__ runs code

=== globals
--- a
def f(): return globals()["g"]
def g(): return 1
>>> a, line 1: globals runs code

=== locals
--- a
g = 1
X = locals()["g"]
def f(): return X
>>> a, line 2: locals runs code

=== variables of nothing in particular
--- a
X = vars()
def f(): return X
>>> a, line 1: vars() runs code

=== globals of a function
--- a
def f(): return (f or f).__globals__["g"]()
def g(): return 1
>>> a, line 1: __globals__ runs code

=== globals of a function, by text
--- a
def f(): return getattr(f, "__globals__")["g"]()
def g(): return 1
>>> a, line 1: __globals__ runs code

=== globals of a frame
--- a
import sys
def f(): return sys._getframe().f_globals["g"]()
>>> a, line 2: f_globals runs code

=== own module
--- a
import sys
def f(): return getattr(sys.modules[__name__], "g")()
>>> a, line 2: sys.modules runs code

=== table of modules
--- a
from sys import modules
def f(): return modules.get("classlens.b").f()
>>> a, line 2: sys.modules runs code

=== import path
--- a
import sys
sys.path.insert(0, "elsewhere")
def f(): return 1
>>> a, line 2: sys.path runs code

=== import in a class
--- a
class C:
    from importlib import import_module
def f(): return C.import_module("classlens.b")
>>> a, line 2: importlib.import_module runs code

=== another process
--- a
import subprocess, sys
def f(): return subprocess.run([sys.executable, "-m", "classlens.b"])
>>> a, line 2: subprocess runs code

=== shell
--- a
import os
def f(): return os.system("python -m classlens.b")
>>> a, line 2: os.system runs code

=== data beside a module
--- a
from pathlib import Path
def f(): return Path(__file__).with_name("data.yaml").read_text()
>>> a, line 2: __file__ finds files that the key does not hold; make them inputs of the job

=== data beside another module
--- x
import classlens
def compute(): return open(classlens.__file__).read()
>>> x, line 2: classlens.__file__ finds files

=== data of a package
--- a
from importlib.resources import files
def f(): return files("classlens").joinpath("data.yaml").read_text()
>>> a, line 2: importlib.resources finds files

=== docstring
--- a
def f():
    '''Text.'''
    return f.__doc__
>>> a, line 3: __doc__ reads what does not count (docstrings, source text, annotations)

=== docstring of the module
--- a
'''Text.'''
def f(): return __doc__
>>> a, line 2: __doc__ reads what does not count

=== source text
--- a
import inspect
def f(): return inspect.getsource(f)
>>> a, line 2: inspect.getsource reads what does not count

=== types of annotations
--- a
from __future__ import annotations
import typing
def f(x: int = 0): return typing.get_type_hints(f)
>>> a, line 3: typing.get_type_hints reads what does not count
"""

RUNNER = """
import asyncio, contextlib, dataclasses, enum, functools, os, sys, typing
for line in sys.stdin:
    child = os.fork()
    if not child:
        root = line.strip()
        sys.path[:0] = [root, root + "/workflow/scripts"]
        try:
            import x
            print("gives", repr(x.compute()), flush=True)
        except BaseException as error:
            print("fails:", repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@dataclass
class Case:
    """A project, and what is said about it in the last line."""

    files: dict[str, str]
    own: list[str]
    """Files that no other case shares."""
    last: str

    def edited(self) -> dict[str, str]:
        file, _, change = self.last.partition(":")
        old, new = (text.strip().replace("\\n", "\n") for text in change.split("->", 1))
        before = self.files.get(file, "")
        if old:
            assert old in before, f"{old!r} is not in {file}"
        return {**self.files, file: before.replace(old, new, 1) if old else f"{before}{new}\n"}


def cases(text: str, **defaults: str) -> list:
    found = []
    for block in text.split("=== ")[1:]:
        head, _, last = block.rstrip().rpartition("\n>>> ")
        name, *files = head.split("\n--- ")
        own = {file.partition("\n")[0]: file.partition("\n")[2] + "\n" for file in files}
        found.append(pytest.param(Case({"x": F, **defaults, **own}, list(own), last), id=name.replace(" ", "_")))
    return found


SOUND = [
    *(one for text in (FINDING, OBJECTS, USES, STATE, TYPES, SCRIPT) for one in cases(text)),
    *cases(REGISTERING, x=REGISTERED, a=REGISTRY),
]


def path_of(root: Path, name: str) -> Path:
    if name.startswith("/"):
        return root / f"{name[1:]}.py"
    return root / ("workflow/scripts/x.py" if name == "x" else f"classlens/{name}.py")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__": "", **files}.items():
        path = path_of(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def code(root: Path):
    return fingerprint(root / "workflow/scripts/x.py", root)


@pytest.fixture(scope="module")
def result():
    """What `compute` gives in a project, or how it fails."""
    command = [sys.executable, "-I", "-S", "-B", "-c", RUNNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(root: Path) -> str:
            process.stdin.write(f"{root}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.stdin.close()


@pytest.mark.parametrize("case", SOUND)
def test_an_edit_that_changes_the_result_changes_the_fingerprint(case, tmp_path, result):
    before, after = write(tmp_path / "before", case.files), write(tmp_path / "after", case.edited())
    first, second = result(before), result(after)
    assert first != second
    assert (first[:5], second[:5]) == ("gives", "gives"), (first, second)
    assert code(before).digest != code(after).digest


def mutants(text: str):
    """Yield a source with one number larger, or one top-level statement gone, doubled, or after the next one."""
    tree = ast.parse(text)
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            changed = copy.deepcopy(tree)
            [twin] = [other for place, other in enumerate(ast.walk(changed)) if place == index]
            twin.value += 10
            yield ast.unparse(changed)
    body = tree.body
    for index, statement in enumerate(body):
        before, after = body[:index], body[index + 1 :]
        yield ast.unparse(ast.Module([*before, *after], []))
        yield ast.unparse(ast.Module([*before, statement, statement, *after], []))
        yield ast.unparse(ast.Module([*before, *after[:1], statement, *after[1:]], []))


@pytest.mark.parametrize("case", SOUND)
def test_no_other_edit_changes_the_result_alone(case, tmp_path, result):
    original = write(tmp_path / "original", case.files)
    edits = [(name, text) for name in case.own for text in mutants(case.files[name])]
    roots = [write(tmp_path / f"{index}", {**case.files, name: text}) for index, (name, text) in enumerate(edits)]
    expected, found = result(original), [result(root) for root in roots]
    digest = code(original).digest
    changed = [index for index, result in enumerate(found) if result != expected and result.startswith("gives")]
    for index in changed:
        try:
            same = code(roots[index]).digest == digest
        except UnkeyableCode:
            continue
        assert not same, "\n".join([*edits[index], expected, found[index]])


@pytest.mark.parametrize("case", cases(HARMLESS))
def test_a_harmless_edit_leaves_the_fingerprint(case, tmp_path, result):
    before, after = write(tmp_path / "before", case.files), write(tmp_path / "after", case.edited())
    first, second = result(before), result(after)
    assert first == second
    assert first.startswith("gives")
    assert case.files != case.edited()
    assert code(before) == code(after)


@pytest.mark.parametrize("case", cases(REFUSED))
def test_refused(case, tmp_path):
    root = write(tmp_path, case.files)
    file, _, message = case.last.partition(", ")
    with pytest.raises(UnkeyableCode) as caught:
        code(root)
    assert str(caught.value).startswith(f"{path_of(root, file)}, {message}")


def test_an_edit_that_keeps_size_and_time_is_seen(tmp_path):
    root = write(tmp_path, {"x": F, "a": "def f(): return 1\n"})
    file = path_of(root, "a")
    stat, before = file.stat(), code(root)
    file.write_text("def f(): return 2\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert code(root) != before


def test_neither_place_nor_name_of_the_script_counts(tmp_path):
    files = {"x": F, "a": "from .b import g\ndef f(): return g()\n", "b": "def g(): return 1\n"}
    first, second = write(tmp_path / "first", files), write(tmp_path / "second" / "further down", files)
    renamed = path_of(second, "x").rename(path_of(second, "x").with_name("y.py"))
    assert fingerprint(renamed, second) == code(first)


def test_excluded_modules_do_not_count(tmp_path):
    root = write(tmp_path, {"x": F, "a": "from .b import g\ndef f(): return g()\n", "b": "def g(): return 1\n"})
    script = path_of(root, "x")
    before, without = fingerprint(script, root), fingerprint(script, root, exclude=["classlens.b"])
    path_of(root, "b").write_text("def g(): return 2\n")
    assert fingerprint(script, root) != before
    assert fingerprint(script, root, exclude=["classlens.b"]) == without


def test_parts_name_definitions(tmp_path):
    files = {
        "x": F,
        "a": "from .b import g\nSIZE = 1\ndef f(): return g(SIZE)\ndef h(): pass\n",
        "b": "class g: pass\n",
    }
    assert set(code(write(tmp_path, files)).parts) == {
        *("__script__:compute", "__script__:import f"),
        *("classlens.a:f", "classlens.a:SIZE", "classlens.a:import g", "classlens.b:g"),
    }


def test_a_definition_named_like_a_part_does_not_hide_it(tmp_path):
    text = "X = []\nX.append(1)\nX.append(2)\ndef order(): return 1\ndef f(): return X, order()\n"
    before = code(write(tmp_path, {"x": F, "a": text}))
    swapped = text.replace("X.append(1)\nX.append(2)", "X.append(2)\nX.append(1)")
    assert code(write(tmp_path, {"x": F, "a": swapped})) != before


def test_a_long_chain_of_calls(tmp_path):
    calls = "".join(f"def f{index}(): return f{index + 1}()\n" for index in range(1000))
    text = f"from .b import f1000\ndef f(): return f0()\n{calls}"
    before = code(write(tmp_path, {"x": F, "a": text, "b": "def f1000(): return 1\n"}))
    assert code(write(tmp_path, {"b": "def f1000(): return 2\n"})) != before


LIBRARIES = {
    "used": ("import numpy as np\ndef f(): return np.zeros(1)", {"numpy"}),
    "not used": ("import numpy as np\nimport torch\ndef f(): return torch\ndef g(): return np", {"torch"}),
    "submodule": ("import scipy.stats\ndef f(): return scipy.stats.norm", {"scipy"}),
    "lazy": ("def f():\n    from torch.nn import functional\n    return functional", {"torch"}),
    "for what it does": ("import hdf5plugin\ndef f(): return 1", {"hdf5plugin"}),
    "for what it does, lazily": ("def f():\n    import hdf5plugin\n    return 1", {"hdf5plugin"}),
    "one or the other": (
        "try:\n    import orjson as json\nexcept ImportError:\n    import ujson as json\ndef f(): return json",
        {"orjson", "ujson"},
    ),
    "decorator": ("from numba import njit\n@njit\ndef f(): return 1", {"numba"}),
    "decorator of what is not used": ("from numba import njit\ndef f(): return 1\n@njit\ndef g(): return 1", {"numba"}),
    "standard library": ("import json, os.path\nfrom math import pi\ndef f(): return json, os.path, pi", set()),
    "project": ("import classlens.c\nfrom classlens import c\ndef f(): return c", set()),
    "script": ("import y\nimport workflow.scripts.y as z\ndef f(): return y, z", set()),
    "talk": ("from classlens.progress import Progress\ndef f(): return Progress", set()),
    "annotation": (
        "from __future__ import annotations\nimport pandas as pd\ndef f(x: pd.DataFrame = 1): return x",
        set(),
    ),
    "type checkers": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\ndef f(): return 1",
        set(),
    ),
    "re-export": ("from classlens.b import sqrt\ndef f(): return sqrt(1)", {"numpy"}),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries(name, tmp_path):
    text, expected = LIBRARIES[name]
    others = {"c": "", "b": "from numpy import sqrt\n", "progress": "import tqdm\nclass Progress: bar = tqdm\n"}
    root = write(tmp_path, {"x": F, "a": f"{text}\n", **others, "/workflow/scripts/y": ""})
    assert code(root).libraries == expected


def test_modules_beside_an_installed_package_are_libraries(tmp_path):
    root = write(tmp_path / "site-packages", {"x": "import lib\nfrom classlens.a import f\ndef compute(): lib.g(f)\n"})
    write(root, {"/lib": "def g(): return 1\n", "a": "def f(): return 1\n"})
    found = code(root)
    assert found.libraries == {"lib"}
    assert "classlens.a:f" in found.parts


# The project's own scripts


def scripts(root: Path = CHECKOUT) -> list[Path]:
    return sorted(root.glob("workflow/scripts/[a-z]*.py"))


def fingerprints(root: Path) -> dict:
    return {script.name: fingerprint(script, root) for script in scripts(root)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("own") / "checkout")


@pytest.fixture(scope="module")
def own(checkout):
    return fingerprints(checkout)


def changed_by(checkout: Path, own: dict, file: str, old: str, new: str) -> set[str]:
    """Return the scripts whose fingerprint an edit changes."""
    path = checkout / file
    text = path.read_text()
    assert old in text, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new, 1))
    try:
        return {name for name, found in fingerprints(checkout).items() if found != own[name]}
    finally:
        path.write_text(text)


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_every_script_has_a_key(script):
    found = fingerprint(script, CHECKOUT)
    assert "__script__:compute" in found.parts
    assert [part for part in found.parts if not part.startswith("__script__:")]
    assert "missing" not in static_key(found, {}).libraries.values()


def test_no_result_is_made_by_code_that_does_not_count(own):
    for name, found in own.items():
        for part, target in found.parts.items():
            if ":import " in part:
                assert not target.startswith("classlens.store"), f"{name}: {part} is {target}"


def test_a_copy_has_the_same_fingerprints(own):
    assert fingerprints(CHECKOUT) == own


def test_fingerprints_do_not_depend_on_the_process():
    program = (
        "import sys; from pathlib import Path; from classlens.store.code import fingerprint;"
        "print([fingerprint(Path(script), Path(sys.argv[1])).digest for script in sys.argv[2:]])"
    )
    command = [sys.executable, "-c", program, str(CHECKOUT), *map(str, scripts())]
    printed = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_all_that_runs_counts(tmp_path, monkeypatch):
    """Every function of the project that a real job calls is a part of its fingerprint."""
    computes = []
    adapter = ModuleType("_adapter")
    adapter.run = lambda _, compute: computes.append(compute)
    monkeypatch.setitem(sys.modules, "_adapter", adapter)
    config, wildcards = load_config(tiny_config()), {"dataset": "digits"}
    script = CHECKOUT / "workflow/scripts/stimuli.py"
    runpy.run_path(str(script), {"snakemake": None})
    [compute] = computes
    called = set()

    def note(frame, event, _):
        function = frame.f_code.co_flags & inspect.CO_OPTIMIZED  # neither a module nor the body of a class
        if event == "call" and function and frame.f_code.co_filename.startswith(str(CHECKOUT / "classlens")):
            called.add(f"{frame.f_globals['__name__']}:{frame.f_code.co_qualname.partition('.')[0]}")

    local = {**describe.local_settings("stimuli", config, wildcards), "threads": 1}
    own = describe.config_slice("stimuli", config, wildcards)
    sys.setprofile(note)
    try:
        compute({"raw": []}, {"table": str(tmp_path / "stimuli.csv")}, own, local)
    finally:
        sys.setprofile(None)
    called = {part for part in called if not part.startswith(UNKEYED)}
    assert "classlens.data.select:select" in called
    assert called <= set(fingerprint(script, CHECKOUT).parts)


def test_edit_of_a_figure(checkout, own):
    changed = changed_by(checkout, own, "classlens/figures/logit_increment.py", "figure.supylabel(", "figure.suptitle(")
    assert changed == {"logit_increment_figure.py"}


def test_edit_of_a_function_of_extraction(checkout, own):
    changed = changed_by(checkout, own, "classlens/extraction/measure.py", "sum(-1, dtype", "sum(-2, dtype")
    assert "extract.py" in changed
    assert changed == {name for name, found in own.items() if "classlens.extraction.measure:rank_of" in found.parts}
    assert not [name for name in changed if name.endswith(("_figure.py", "_table.py"))]


def test_edit_of_what_all_figures_share(checkout, own):
    changed = changed_by(checkout, own, "classlens/figures/style.py", 'color_palette("colorblind")', "color_palette()")
    assert changed == {name for name in own if name.endswith("_figure.py")}


def test_edit_of_how_jobs_are_run(checkout, own):
    assert not changed_by(checkout, own, "classlens/store/job.py", "def run_job(", "def run_a_job(")
    assert not changed_by(checkout, own, "workflow/scripts/_adapter.py", "def run(", "X = 1\n\n\ndef run(")


def test_comments_everywhere(checkout, own):
    files = [*checkout.glob("classlens/**/*.py"), *checkout.glob("workflow/scripts/*.py")]
    before = {file: file.read_text() for file in files}
    try:
        for file, text in before.items():
            file.write_text(f"# A comment.\n\n{text}\n\n# Another one.\n")
        assert fingerprints(checkout) == own
    finally:
        for file, text in before.items():
            file.write_text(text)
