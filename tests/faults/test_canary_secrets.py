"""Canary secrets wherever a user can put one: each is found only where docs/faults.md says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.formats.identity import Digest, Kind
from aq.pipeline.change.context import redact
from aq.pipeline.flow.redacted import is_secret, names_secret
from aq.store.frames.pack_contents import read_places
from aq.store.store import Store

FLOW = """
import os
import aq

HOME_TOKEN = os.environ["MY_TOKEN"]

@aq.op
def fetch(text: str, address: str, options: dict, header: str = "") -> int:
    \"\"\"Uses what it is given.\"\"\"
    assert HOME_TOKEN and os.environ["AWS_SECRET_ACCESS_KEY"]
    return len(text) + len(address) + len(header)

@aq.op
def told(found: int) -> int:
    print("canary-printed")
    return found

@aq.op
def fails(found: int, wanted: bool) -> int:
    if wanted:
        raise ValueError("canary-raised")
    return found

@aq.flow
def pull(token: str, url: str = "", password: str = os.environ["DB_PASSWORD"], creds: dict = {},
         fail: bool = False, apiKey: str = "", depth: int = 3):
    found = fetch(aq.read("data.txt"), url, creds, header="Bearer " + token)
    fails(told(found), fail)
"""
# What docs/faults.md lists: kept as it is, because that is what aq is asked to keep.
KEPT = {
    "canary-printed",
    "canary-raised",
    "canary-author",
    "canary-config",
    "canary-message",
    "canary-content\n" + "some text\n" * 9_000,
}
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "MY_TOKEN": "canary-mytoken",
    "DB_PASSWORD": "canary-default",
    "UNUSED_SECRET": "canary-unused",
    "AQ_AUTHOR": "canary-author <a@example.org>",
}
PARAMS = (
    *("-p", "token=canary-token", "-p", "url=https://me:canary-user@host/a?X-Amz-Signature=canary-signature"),
    *("-p", 'creds={"password": "canary-map"}', "--param=apiKey=canary-apikey"),
)


class Bench:
    """Runs the real command and keeps all that it says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said = b""

    def aq(self, *words: str, code: int = 0) -> bytes:
        """Standard output of a command that ends with a code."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "aq", *words],
            cwd=self.root,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        self.said += done.stdout + done.stderr
        return done.stdout + done.stderr


def found_in(data: bytes) -> set[str]:
    """The canaries in some bytes."""
    return {one for one in CANARIES if one.encode() in data}


CANARIES = sorted(
    {
        *KEPT,
        *(value.partition(" ")[0] for value in ENVIRONMENT.values()),
        *("canary-token", "canary-user", "canary-signature", "canary-map", "canary-apikey"),
        *("canary-dotenv", "canary-rsa", "canary-pem", "canary-wrong", "canary-workers", "canary-netrc"),
    }
)


def every_byte(root: Path) -> Iterator[tuple[str, bytes]]:
    """The raw bytes of every file of the store, and every frame of every pack in full."""
    for path in sorted((root / ".aq").rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()
    with Store.open(root) as store:
        for path in sorted((root / ".aq" / "packs").rglob("*.pack")):
            for id, place in read_places(str(path), bytes.fromhex(path.stem)):
                yield f"{Digest(id).short()} {Kind(place.kind).name}", store.get(Kind(place.kind), id)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A repository that has seen every canary."""
    bench = Bench(tmp_path_factory.mktemp("canary"))
    root = bench.root
    bench.aq("init")
    (root / "flow.py").write_text(FLOW)
    (root / "data.txt").write_text("rows\n")
    folder = root / "whole"
    folder.mkdir()
    for name, text in {
        ".env": "canary-dotenv",
        ".env.local": "canary-dotenv",
        "id_rsa": "canary-rsa",
        "server.pem": "canary-pem",
        ".netrc": "canary-netrc",
        "notes.txt": "canary-content\n" + "some text\n" * 9_000,
    }.items():
        (folder / name).write_text(text)
    bench.aq("add", "whole", "data.txt")
    bench.aq("commit", "-m", "canary-message")
    bench.aq("config", "set", "author.name", "canary-config")
    bench.aq("run", "flow.py", *PARAMS)
    bench.aq("run", "flow.py", *PARAMS, "-p", "fail=true", code=1)
    bench.aq("run", "flow.py", "-p", "token=canary-workers", "-j", "2")
    bench.aq("run", "flow.py", "-p", "token=canary-wrong", "-p", "creds=none of it", code=2)
    bench.aq("run", "flow.py", "-p", "tokn=canary-wrong", code=2)
    for words in (
        *(("status",), ("log",), ("show",), ("show", "run:last"), ("runs",), ("steps", "run:last"), ("ops",)),
        *(("logs", "pull/told"), ("ls",), ("diff", "HEAD~1..HEAD"), ("status", "-v"), ("checks",)),
    ):
        bench.aq(*words)
        bench.aq("--json", *words)
    return bench


def test_no_byte_of_the_store_holds_a_secret(bench: Bench) -> None:
    held: dict[str, str] = {}
    for place, data in every_byte(bench.root):
        for one in found_in(data):
            held.setdefault(one, place)
    assert held.keys() == KEPT, held


def test_no_output_shows_a_secret(bench: Bench) -> None:
    assert found_in(bench.said) <= KEPT


def test_a_run_that_needs_a_secret_asks_for_it_again(bench: Bench) -> None:
    assert b"nothing" in bench.aq("run") or b"reused" in bench.aq("run")
    (bench.root / "data.txt").write_text("more rows\n")
    told = bench.aq("run", code=2)
    assert b"-p token=VALUE" in told and b"canary" not in told
    assert b"-p token=VALUE" in bench.aq("repro", "HEAD", code=2)
    assert b"fetch" in bench.aq("run", "-n", "-p", "token=canary-token")


def test_a_changed_secret_is_another_key_and_shows_as_a_change(bench: Bench) -> None:
    same = bench.aq("run", "-n", "flow.py", "-p", "token=canary-workers")
    other = bench.aq("run", "-n", "flow.py", "-p", "token=canary-token")
    assert same != other and b"header changed" in other and not found_in(other)


SECRET = [
    "token",
    "MY_TOKEN",
    "api_key",
    "apiKey",
    "AWS_SECRET_ACCESS_KEY",
    "db-password",
    "private_key_file",
]
OPEN = [
    "key",
    "group_key",
    "monkey",
    "author",
    "max_tokens",
    "passes",
    "keyword",
    "compass",
    "n_keys",
    "secretary",
]


def test_names_that_say_so() -> None:
    assert [name for name in (*SECRET, *OPEN) if names_secret(name)] == SECRET


@pytest.mark.parametrize("value", [5, 2.5, True, None, "", [], {}, [1, None]])
def test_what_is_no_text_is_no_secret(value: object) -> None:
    assert not is_secret("token", value)


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("https://me@host/x", True),
        ("https://me:pass@host", True),
        ("ssh://git@host/x", False),
        ("postgresql://me:pass@host/db", True),
        ("https://host/a?sig=x", True),
        ("https://host/?page=2", False),
        ("https://host/a?b=1&X-Goog-Signature=x", True),
        (["x", "https://me:p@host"], True),
        ({"a": {"password": "x"}}, True),
        ({"password": None}, False),
        ("a@b.org", False),
    ],
)
def test_addresses_that_let_their_reader_in(value: object, secret: bool) -> None:
    assert is_secret("source", value) is secret


def test_the_operation_log_has_no_param_that_is_a_secret() -> None:
    words = ["--param=token=hush", "-papi_key=hush", '-p=creds={"db_password" : "hush"}', "pwd=hush"]
    assert "hush" not in " ".join(redact(words))
