"""Programs that do what nobody wants: each is survived within seconds, never passes, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.errors import InputError
from toolkit.evaluation.sandbox import probe
from toolkit.evaluation.sandbox.check import Check, Limits, Mechanism, Verdict, check
from toolkit.evaluation.sandbox.probe import Protection, look, order, protection, works

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux's parts")
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9\n"
HARMLESS = "def square(x):\n    return x * x\n"
WRONG = "def square(x):\n    return 0\n"
SMALL = Limits(seconds=3, memory_bytes=400 << 20, output_bytes=100_000)
PATIENT = replace(SMALL, seconds=60)  # where the clock is not what must end it: a loaded machine starts late
BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"

# name -> (program, the kinds it may end as)
HOSTILE = {
    "wrong answer": (WRONG, {"failed"}),
    "syntax error": ("def square(x:\n", {"failed"}),
    "no such function": ("def cube(x): return x\n", {"failed"}),
    "infinite loop": ("def square(x):\n    while True: pass\n", {"timed out"}),
    "infinite loop while loading": ("while True: pass\n", {"timed out"}),
    "loop that catches everything": (
        "def square(x):\n    while True:\n        try: int('x')\n        except BaseException: pass\n",
        {"timed out"},
    ),
    "deaf to signals": (
        "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "def square(x):\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass\n",
        {"timed out"},
    ),
    "fork bomb": (BOMB, {"timed out"}),
    "fork bomb that leaves its session": (BOMB.replace("os.fork()", "os.fork() or os.setsid()"), {"timed out"}),
    "threads that hang": (
        "import threading, time\ndef wait():\n    while True: time.sleep(60)\n"
        "def square(x):\n    for _ in range(4): threading.Thread(target=wait).start()\n    return 0\n",
        {"failed"},
    ),
    "memory hog": ("def square(x):\n    return len(bytearray(8 << 30))\n", {"out of memory"}),
    "memory hog, slowly": ("def square(x):\n    a = []\n    while True: a.append(bytes(1 << 20))\n", {"out of memory"}),
    "memory that no limit counts": (
        "import ctypes\ndef square(x):\n    made = ctypes.CDLL(None).shmget(0, 4096, 0o1600)\n"
        "    return 0 if made < 0 else x * x\n",
        {"failed"},
    ),
    "calls the kernel as a program of 32 bits": (
        "import ctypes, mmap, os\ncode = mmap.mmap(-1, 4096, prot=7)\n"
        "code.write(bytes.fromhex('53b814000000cd805bc3'))\n"  # getpid
        "call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\n"
        "def square(x):\n    return x * x if os.uname().machine == 'x86_64' and call() > 0 else 0\n",
        {"failed", "crashed"},  # crashed: a kernel that was built without them
    ),
    "huge output": ("def square(x):\n    while True: print('x' * 10000)\n", {"too much output"}),
    "huge answer": ("def square(x):\n    return 'x' * (64 << 20)\n", {"failed", "out of memory"}),
    "sys.exit": ("import sys\ndef square(x):\n    sys.exit(0)\n", {"failed"}),
    "os._exit while loading": ("import os\nos._exit(0)\n", {"failed"}),
    "os._exit": ("import os\ndef square(x):\n    os._exit(0)\n", {"failed"}),
    "atexit": ("import atexit, os, sys\natexit.register(os._exit, 0)\nsys.exit(0)\n", {"failed"}),
    "kills itself": ("import os\ndef square(x):\n    os.kill(os.getpid(), 9)\n", {"killed"}),
    "kills everybody": (
        "import os\ndef square(x):\n    os.kill(-1, 9)\n",
        {"failed", "killed", "timed out", "crashed"},
    ),
    "segmentation fault": ("import ctypes\ndef square(x):\n    ctypes.string_at(0)\n", {"crashed"}),
    "deep recursion": ("def square(x):\n    return square(x)\n", {"failed"}),
    "deep recursion without a limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef square(x):\n    return [square(x)]\n",
        {"crashed", "out of memory", "timed out"},
    ),
    "deep answer": (
        "def square(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a\n",
        {"failed"},
    ),
    "reads stdin": ("def square(x):\n    return int(input())\n", {"failed"}),
    "an answer equal to everything": (
        "class Same(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "class Odd:\n    __eq__ = Same.__eq__\n"
        "def square(x):\n    return Same(0) if x == 2 else Odd()\n",
        {"failed"},
    ),
    "redefines the checker": (
        WRONG + "import builtins\ndef check(candidate): pass\nbuiltins.AssertionError = ValueError\n"
        "builtins.check = check\nbuiltins.__build_class__ = None\nbuiltins.compile = builtins.exec = None\n",
        {"failed"},
    ),
    "walks the frames": (
        "import sys\ndef square(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for name, value in list(frame.f_globals.items()) + list(frame.f_locals.items()):\n"
        "            if isinstance(value, list): value.append('passed')\n"
        "            if isinstance(value, dict) and 'role' in value: value['role'] = 'checker'\n"
        "        frame = frame.f_back\n    return 0\n",
        {"failed"},
    ),
    "says that it passed, wherever it can": (
        "import json, os\nsaid = json.dumps({'kind': 'passed', 'detail': ''}).encode()\n"
        "for fd in range(64):\n    for text in (said, len(said).to_bytes(4, 'big') + said):\n"
        "        try: os.write(fd, text)\n        except OSError: pass\nos._exit(0)\n",
        {"failed"},
    ),
    "looks for the test in memory": (
        "import gc, os\ndef square(x):\n    texts = [o for o in gc.get_objects() if isinstance(o, dict)]\n"
        "    return 4 if any('assert candidate' in str(v) for d in texts for v in list(d.values())) else 0\n",
        {"failed"},
    ),
    "answers before it is asked": (
        "import json, os\nfor fd in range(3, 64):\n    try:\n        for told in ({'value': None}, {'value': 0}):\n"
        "            data = json.dumps(told).encode()\n            os.write(fd, len(data).to_bytes(4, 'big') + data)\n"
        "    except OSError: pass\n" + WRONG,
        {"failed"},
    ),
    "answers nonsense": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, (9).to_bytes(4, 'big') + b'{\"set\":1}')\n"
        "    except OSError: pass\n",
        {"failed"},
    ),
    "promises more than it sends": (
        "import os, time\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\xff\\xff\\xff\\xff')\n"
        "    except OSError: pass\n",
        {"failed"},
    ),
}


def mechanisms() -> list[Mechanism]:
    """Those that work here, the one that is used first."""
    return [one for one in order() if works(one).kind == "passed"]


@pytest.fixture(scope="module")
def shield() -> Protection:
    try:
        return protection()
    except InputError as error:
        pytest.skip(error.problem)


def run(program: str, shield: Protection, test: str = TEST, limits: Limits = PATIENT) -> Verdict:
    return check(Check(program, "square", test), limits, shield.mechanism)


def held(shield: Protection, name: str) -> None:
    if not getattr(shield, name):
        pytest.skip(f"this machine's sandbox ({shield.text}) does not hold {name!r}")


def children(of: int) -> set[int]:
    """The processes of a sandbox, by their command line, that stem from this one."""
    return {process for process in descendants(of) if is_child(process)}


def is_child(process: int) -> bool:
    try:
        return b"sandbox/child.py" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def descendants(of: int) -> set[int]:
    """The processes that stem from this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {of}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {of}


def test_a_right_program_passes(shield: Protection) -> None:
    assert run(HARMLESS, shield) == Verdict("passed")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_never_passes_and_ends_in_time(name: str, shield: Protection) -> None:
    if name == "kills everybody":
        held(shield, "apart")  # it would end this test
    program, kinds = HOSTILE[name]
    limits = SMALL if "timed out" in kinds else PATIENT
    before, start = descendants(os.getpid()), time.monotonic()
    verdict = run(program, shield, limits=limits)
    assert time.monotonic() - start < limits.seconds + 20
    assert verdict.kind in kinds, verdict
    assert descendants(os.getpid()) <= before


@pytest.mark.parametrize("name", ["wrong answer", "fork bomb", "memory hog", "says that it passed, wherever it can"])
def test_every_mechanism_that_works_here_judges_alike(name: str) -> None:
    program, kinds = HOSTILE[name]
    for mechanism in mechanisms():
        assert check(Check(HARMLESS, "square", TEST), PATIENT, mechanism).kind == "passed", mechanism
        verdict = check(Check(program, "square", TEST), SMALL if "timed out" in kinds else PATIENT, mechanism)
        assert verdict.kind in kinds, (mechanism, verdict)


def test_nothing_survives_a_program_that_starts_others(shield: Protection, tmp_path: Path) -> None:
    held(shield, "apart")
    mark = f"9{os.getpid()}77"
    program = (
        "import os\ndef square(x):\n"
        "    for _ in range(3):\n"
        f"        os.posix_spawn('/usr/bin/sleep', ['sleep', '{mark}'], {{}}, setsid=True)\n"
        "    return x * x\n"
    )
    verdict = run(program, shield)
    assert verdict.kind in ("passed", "failed"), verdict
    running = [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _bytes(p)]
    assert not running, (verdict, running, [_bytes(p) for p in running])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_file_outside_cannot_be_deleted_written_or_read(shield: Protection, tmp_path: Path) -> None:
    held(shield, "writing")
    held(shield, "reading")
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for path in (tmp_path, precious):
        path.chmod(0o777)
    for attempt in (
        "os.remove(path)",
        "open(path, 'w').write('gone')",
        "os.rename(path, path + '2')",
        "open(path).read()",
        "__import__('posix').unlink(path)",
        "os.posix_spawn('/usr/bin/rm', ['rm', path], {}) and os.wait()[1] and 1 / 0",
        "__import__('shutil').rmtree(os.path.dirname(path))",
        "os.mkdir('/new')",
        "open('/usr/new', 'w')",
    ):
        program = f"import os\ndef square(path):\n    {attempt}\n    return True\n"
        verdict = run(program, shield, f"def check(candidate):\n    assert candidate({str(precious)!r}) is True\n")
        assert verdict.kind == "failed", (attempt, verdict)
        assert precious.read_text() == "kept"
        assert list(tmp_path.iterdir()) == [precious]


def test_a_program_may_write_in_its_scratch_folder_up_to_a_limit(shield: Protection) -> None:
    small = "def square(x):\n    open('a', 'w').write('12')\n    return len(open('a').read()) * x\n"
    assert run(small, shield, "def check(candidate):\n    assert candidate(2) == 4\n").kind == "passed"
    huge = (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def square(x):\n    open('a', 'wb').write(bytes(64 << 20))\n    return x * x\n"
    )
    assert run(huge, shield).kind == "failed"


def test_no_network_is_reached(shield: Protection) -> None:
    held(shield, "network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = (
            f"import socket\ndef square(x):\n    socket.create_connection(('127.0.0.1', {port}), 2)\n    return x * x\n"
        )
        socket.create_connection(("127.0.0.1", port), 2).close()
        assert run(program, shield).kind == "failed"


def test_no_secret_of_the_environment_is_seen(shield: Protection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_KEY", "swordfish")
    program = (
        "import os\ndef square(x):\n    texts = [str(dict(os.environ))]\n"
        "    for process in (os.listdir('/proc') if os.path.isdir('/proc') else []):\n"
        "        try: texts.append(open(f'/proc/{process}/environ', errors='replace').read())\n"
        "        except OSError: pass\n"
        "    return 4 if any('swordfish' in text for text in texts) else 0\n"
    )
    if not shield.apart:
        pytest.skip(f"this machine's sandbox ({shield.text}) sees other processes")
    assert run(program, shield, "def check(candidate):\n    assert candidate(2) == 4\n").kind == "failed"


def test_a_program_has_no_rights_to_regain(shield: Protection) -> None:
    held(shield, "writing")
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\ndef square(x):\n"
        "    os.mkdir('/tmp/there')\n"
        "    new = libc.unshare(0x10000000 | 0x20000)\n"
        "    again = libc.mount(b'none', b'/', None, 32 | 4096, None)\n"
        "    bound = libc.mount(b'/usr', b'/tmp/there', None, 4096 | 16384, None)\n"
        "    libc.mount(b'none', b'/tmp/there', None, 32 | 4096, None)\n"
        "    try: open('/usr/there', 'w')\n"
        "    except OSError: pass\n    else: return 'wrote'\n"
        "    try: open('/tmp/there/there', 'w')\n"
        "    except OSError: return 'refused'\n"
        "    return 'refused' if bound else 'wrote'\n"
    )
    verdict = run(program, shield, "def check(candidate):\n    assert candidate(2) == 'refused'\n")
    assert verdict == Verdict("passed")
    assert not Path("/usr/there").exists()


def test_many_processes_are_refused(shield: Protection) -> None:
    held(shield, "processes")
    program = (
        "import os, time\ndef square(x):\n    for count in range(1000):\n"
        "        try:\n            if os.fork() == 0: time.sleep(60)\n"
        "        except OSError: return count\n    return 1000\n"
    )
    most = SMALL.processes
    assert run(program, shield, f"def check(candidate):\n    assert candidate(0) < {most}\n") == Verdict("passed")


@pytest.mark.parametrize(
    "value",
    [
        "None", "True", "1.5", "float('inf')", "2 + 3j", "'\\ud800é'", "b'\\xff'", "[1, (2, [3])]", "(1,)", "{1, 2}",
        "frozenset({1})", "{'a': [1], 2: (3,)}", "range(3)", "10 ** 5000", "__import__('decimal').Decimal('1.10')",
        "__import__('fractions').Fraction(1, 3)", "{}", "set()",
    ],
)  # fmt: skip
def test_plain_data_comes_back_with_its_type(value: str, shield: Protection) -> None:
    test = f"def check(candidate):\n    got = candidate({value})\n    assert got == ({value})\n"
    test += f"    assert type(got) is type({value})\n"
    assert run("def square(x):\n    return x\n", shield, test) == Verdict("passed")


def test_an_error_of_the_program_is_an_error_of_its_name_in_the_test(shield: Protection) -> None:
    test = "def check(candidate):\n    try: candidate(0)\n    except ZeroDivisionError: return\n    assert False\n"
    assert run("def square(x):\n    return 1 / x\n", shield, test) == Verdict("passed")
    assert run(HARMLESS, shield, test).kind == "failed"


def test_an_error_that_ends_loops_does_not_end_those_of_the_test(shield: Protection) -> None:
    test = "def check(candidate):\n    assert all(map(lambda x: candidate(x) == x * x, [1, 2]))\n"
    assert run("def square(x):\n    raise StopIteration\n", shield, test).kind == "failed"
    assert run(HARMLESS, shield, test) == Verdict("passed")


def test_an_object_of_the_programs_own_is_named_in_the_detail(shield: Protection) -> None:
    verdict = run("class Mine: pass\ndef square(x):\n    return Mine()\n", shield)
    assert verdict == Verdict("failed", "TypeError: Mine is no plain data")


def test_a_test_that_is_broken_itself_does_not_pass(shield: Protection) -> None:
    assert run(HARMLESS, shield, "def check(candidate:\n").kind == "failed"
    assert run(HARMLESS, shield, "import os\nos._exit(0)\n").kind == "crashed"


def test_the_probe_tells_open_doors_from_closed_ones() -> None:
    ready = mechanisms()
    if "limits" not in ready or ready[0] == "limits":
        pytest.skip(f"only {ready} work here: nothing to tell apart")
    assert look(ready[0]).network and not look("limits").network
    assert "open: network" in look("limits").text


def test_a_mechanism_that_is_missing_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert works("bubblewrap") == Verdict("crashed", "bwrap is not installed")


def test_a_machine_without_a_sandbox_is_refused_with_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "works", lambda mechanism: Verdict("crashed", f"no {mechanism}"))
    with pytest.raises(InputError, match=r"namespaces: crashed, no namespaces.*limits: crashed"):
        protection.__wrapped__()


def test_a_parent_that_is_killed_takes_its_checks_along(shield: Protection, tmp_path: Path) -> None:
    script = (
        "from toolkit.evaluation.sandbox.check import Check, Limits, check\n"
        f"check(Check('while True: pass', 'f', 'def check(c): pass'), Limits(60), {shield.mechanism!r})\n"
    )
    where = os.environ | {"TMPDIR": str(tmp_path)}  # a killed parent leaves its empty folder
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2], env=where)
    end = time.monotonic() + 60
    while not children(parent.pid) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)  # those it starts are there too
    mine = children(parent.pid)
    assert mine
    parent.kill()
    parent.wait()
    end = time.monotonic() + 60
    while any(map(is_child, mine)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_child, mine))
