"""What lies in the folder but is nobody's data, and how to ask for it all the same."""

from __future__ import annotations

import pytest
from aq.formats.errors import Unstorable, UsageError

from tests.store.folder import Bench, bench

__all__ = ["bench"]

IGNORED = """
    .git/config .venv/x venv/x env/x my-env/pyvenv.cfg my-env/lib/x miniconda/conda-meta/h
    miniconda/bin/python node_modules/x __pycache__/m.pyc m.pyc .ipynb_checkpoints/n.ipynb
    .pytest_cache/x .mypy_cache/x .ruff_cache/x .DS_Store .env .env.local .envrc server.pem
    deep/server.key id_rsa deep/id_ed25519
"""


class TestIgnores:
    """Environments, caches and secrets; `.aqignore`; force."""

    def test_defaults(self, bench: Bench) -> None:
        for name in IGNORED.split():
            bench.write(name, "x")
        bench.write("deep/environment.yml", "x")
        bench.write("venv.csv", "x")
        assert bench.status().untracked == ["deep/", "venv.csv"]
        assert bench.add(".") == ["deep/environment.yml", "venv.csv"]
        for name in IGNORED.split():
            if not name.startswith(".git/"):
                with pytest.raises(UsageError, match="is ignored") as caught:
                    bench.add(name)
                assert caught.value.hint == f"aq add -f {name}"
        with pytest.raises(Unstorable, match=r"leads into \.git"):
            bench.add(".git/config", force=True)

    def test_force_takes_files_and_folders(self, bench: Bench) -> None:
        for name in (".env", ".venv/a", ".venv/b/c.pyc", "venv/x", "venv/y/z"):
            bench.write(name, "x")
        assert bench.add(".env", ".venv", "venv/y", force=True) == [
            ".env",
            ".venv/a",
            ".venv/b/c.pyc",
            "venv/y/z",
        ]
        bench.commit()
        assert sorted(bench.files(bench.work.head())) == [".env", ".venv/a", ".venv/b/c.pyc", "venv/y/z"]
        assert bench.changes() == {} and bench.status().untracked == []
        bench.write(".venv/a", "changed")
        (bench.root / "venv/y/z").unlink()
        bench.write(".venv/new", "ignored again")
        assert bench.changes() == {".venv/a": "changed", "venv/y/z": "removed"}
        assert bench.status().untracked == []
        assert bench.add(".env") == []

    def test_what_is_taken_out_of_a_forced_folder_is_ignored_again(self, bench: Bench) -> None:
        for name in (".venv/a", ".venv/b/c"):
            bench.write(name, "x")
        bench.add(".venv", force=True)
        assert bench.remove(".venv/b") == [".venv/b/c"]
        assert bench.changes() == {".venv/a": "added"} and bench.status().untracked == []

    def test_aqignore(self, bench: Bench) -> None:
        bench.write(
            ".aqignore", "*.tmp\n/raw/\nbig/**/cache\n!keep.tmp\n!.env.example\n!venv/\n# comment\n\n"
        )
        bench.write("deep/.aqignore", "!*.tmp\n*.csv\n")
        names = [
            "x.tmp",
            "keep.tmp",
            ".env.example",
            ".env",
            "raw/a",
            "deep/raw/a",
            "big/a/cache/b",
            "big/a/c",
        ]
        for name in [*names, "deep/x.tmp", "deep/x.csv", "x.csv", "venv/pyvenv.cfg"]:
            bench.write(name, "x")
        expected = [
            "keep.tmp",
            ".env.example",
            "deep/raw/a",
            "big/a/c",
            "deep/x.tmp",
            "x.csv",
            "venv/pyvenv.cfg",
        ]
        assert bench.add(".") == sorted([*expected, ".aqignore", "deep/.aqignore"])
        for name in ("raw", "raw/a", "x.tmp", "deep/x.csv"):
            with pytest.raises(UsageError, match="is ignored"):
                bench.add(name)

    def test_ignores_say_nothing_about_what_is_tracked(self, bench: Bench) -> None:
        for name in ("raw/a", "raw/b", "x.tmp"):
            bench.write(name, "1")
        bench.add(".")
        bench.commit()
        bench.write(".aqignore", "raw/\n*.tmp\n")
        assert bench.changes() == {}
        bench.write("raw/a", "2")
        bench.write("raw/new", "2")
        (bench.root / "x.tmp").unlink()
        assert bench.changes() == {"raw/a": "changed", "x.tmp": "removed"}
        assert bench.status().untracked == [".aqignore"]

    def test_a_pattern_that_is_none(self, bench: Bench) -> None:
        bench.write(".aqignore", "!\n")
        with pytest.raises(UsageError, match=r"^\.aqignore: "):
            bench.status()

    def test_a_repository_inside(self, bench: Bench) -> None:
        bench.write("inner/.aq/format", "{}")
        bench.write("inner/data.csv", "1")
        bench.write("a", "1")
        assert bench.status().untracked == ["a"]
        assert bench.add(".") == ["a"]
        for path in ("inner", "inner/data.csv"):
            with pytest.raises(UsageError, match="inner is a repository of its own"):
                bench.add(path)
        assert bench.status().notes == ["inner is a repository of its own: skipped"]
