"""The topics of `aq help TOPIC`: what holds across commands, in a screen each."""

from __future__ import annotations

from typing import Final

_REVISIONS: Final = """\
Revisions name a commit or a run.

  8c12d0a4          a commit or run by the first digits of its id, at least 4
  main, v1          a branch, a tag
  HEAD              the commit that the folder is at
  run:last          the newest run, whatever became of it
  REV~2             the commit two first parents before REV
  REV^2             the second parent of REV, where something was merged
  main@{2026-03-01} the newest commit of main up to the end of that day (UTC)
  git:4f2a91c       the newest commit recorded at that Git commit
  A..B              what B has and A has not; for diff: from A to B
  REV:PATH          an artifact: data/flights.parquet, delays/predictions

Without REV, PATH means HEAD's. Any unique end of a made path will do: v1:predictions.
"""

_RUNS: Final = """\
A flow is a function that calls ops; `aq run` brings it up to date.

  aq run flights.py         all flows of a file, with their defaults
  aq run flights.py:delays  one flow
  aq run -p depth=8         all flows of HEAD, with a param changed
  aq run                    all flows of HEAD, as they ran last
  aq run -p month=2026-04   of a flow in partitions this one, new or not (docs/partitions.md)
  aq run -n                 what would run, and why

A step runs again when its code (helpers and constants included), an input, a param or a package
that it uses changed; otherwise its recorded output is used. What a flow makes lies under its
name: delays/train, delays/predictions. A run commits what it read and what it made at once, and
the branch moves only if every op ended and no check of severity error failed. A run that
failed, was gated or not committed has an id too: aq show run:last, aq logs train.
"""

_METRICS: Final = """\
A metric is a function that returns a number or a flat dict of numbers.

  aq log --metric auc       the value beside each commit
  aq metrics auc            the series, oldest first
  aq diff main~1..main      what a commit did to all of them
  aq bisect auc             the commit that made it worse

The value of a metric at a commit is what its flow gives for that commit's sources, code and
params. It is recorded only if it was made from exactly these; otherwise it is missing, shown as
a dash, and never inherited. Any unique end of a full name will do: auc for delays/auc.
"""

_JSON: Final = """\
Every command takes --json.

  {"version": 1, "command": "log", "data": ...}         on standard output
  {"version": 1, "error": {"kind", "message", "hint",
                           "exit_code"}}                on standard error

`aq run --json` writes one object a line: {"event": "step", ...} as each step ends, then
{"event": "done", ...}, without the envelope. Ids are full, sizes bytes, times RFC 3339 in UTC;
a metric that is NaN is null, one that is missing is absent. Keys may be added, never renamed.
"""

_EXIT: Final = """\
Exit codes:

    0  ok; also where there was nothing to commit
    1  failed
    2  usage: a flag is missing, a revision, path, metric or param is unknown or ambiguous
    3  the answer is no: a check failed, repro differs, diff --exit-code, bisect inconclusive
    4  conflict, or a race was lost
    5  the repository is damaged
    6  not a repository
   70  a bug in aq; the only one with a traceback of aq's own
   75  temporary: try again
  130  interrupted
  143  terminated

Of several, the worst: 1, then 4, then 3.
"""

_IGNORE: Final = """\
`aq add` and `aq status` leave out what `.aqignore` files name, in the syntax of .gitignore,
and without one .git, environments, caches, .env and keys. A path that is tracked stays tracked.
.gitignore counts for nothing here: data that Git ignores is what aq is for.

  aq add --force PATH   tracks an ignored path all the same
"""

TOPICS: Final = {
    "revisions": _REVISIONS,
    "runs": _RUNS,
    "metrics": _METRICS,
    "json": _JSON,
    "exit": _EXIT,
    "ignore": _IGNORE,
}
