"""Tools that misbehave hurt nobody else: not the repository, not the other tasks, not the run."""

import sys

import pytest

from tests.pipeline.lab import Lab, lines, make_repository, stream, task, write

TOLERANT = {"policy": {"allow_noncritical_failures": True}}
COMMIT_AS_EVE = "git -c user.name=eve -c user.email=eve@localhost commit -qam"


def alone(name: str, script: str, **more: object) -> dict[str, object]:
    """A task in a workstream of its own that may fail."""
    return stream(name, task("do", script, **more), critical=False)


def test_changes_that_no_patch_may_make_are_refused_each_with_its_reason(lab: Lab) -> None:
    make_repository(lab.repo)
    write(lab.repo, {".gitignore": "build/\n"})
    lab.git("add", "-A")
    lab.git("commit", "-q", "-m", "second")
    before = lab.head()
    cases = {
        "outside": ("echo x >> b.txt; echo x > new.txt", {"out_of_scope"}),
        "nested": ("git init -q sub; echo x > sub/f", {"submodule"}),
        "nested-commit": (
            "git init -q sub; cd sub; echo x > f; git add f; "
            "git -c user.name=e -c user.email=e commit -qm x",
            {"submodule"},
        ),
        "symlink": ("ln -s /etc/passwd link.txt", {"symlink"}),
        "folder-link": ("rm -rf src; ln -s /etc src", {"symlink"}),
        "huge": ("head -c 3000000 /dev/zero | tr '\\0' x > huge.txt", {"oversize"}),
        "many": ("for i in $(seq 101); do echo $i > f$i.txt; done", {"oversize"}),
        "binary": ("printf 'a\\0b' > a.txt", {"binary"}),
        "executable": ("chmod +x a.txt", {"mode"}),
        "upper-git": ("mkdir .GIT; echo '[core]' > .GIT/config", {"git_dir"}),
        "short-git": ("mkdir git~1; echo '[core]' > git~1/config", {"git_dir"}),
        "protected": ("echo '* filter=x' > .gitattributes", {"protected"}),
        "not-utf8": ("printf x > $(printf 'caf\\351.txt')", {"path_characters"}),
        "pipe": ("rm a.txt; mkfifo a.txt", {"mode"}),
    }
    scopes = {"outside": ["a.txt"]}
    streams = [
        alone(name, script, **({"files_scope": scopes[name]} if name in scopes else {}))
        for name, (script, _) in cases.items()
    ]
    good = stream("good", task("do", "echo good >> a.txt"))
    ran = lab.run(*streams, good, **TOLERANT)
    refused = {name: ran.refusals(f"{name}/do") for name in cases}
    for name, (_, codes) in cases.items():
        assert codes <= refused[name], (name, refused[name])
    assert ran.workstreams["good"] == "completed"
    assert {ran.workstreams[name] for name in cases} == {"failed"}
    assert all(len(ran.ledger(f"{name}/do", "quarantined")) == 1 for name in cases)
    assert ran.state == "succeeded"
    assert lab.git("diff", "--name-only", before, "main") == "a.txt"


def test_what_a_tool_does_to_git_stays_in_its_sandbox(lab: Lab) -> None:
    make_repository(lab.repo)
    config = (lab.repo / ".git/config").read_bytes()
    mark = lab.folder / "mark"
    hook = f"printf '#!/bin/sh\\ntouch {mark}\\n' > .git/hooks/$h; chmod +x .git/hooks/$h"
    kinds = "pre-commit post-checkout reference-transaction"
    hooks = f"mkdir -p .git/hooks; for h in {kinds}; do {hook}; done"
    ran = lab.run(
        stream(
            "config",
            task(
                "do",
                lines(
                    "echo c > c.txt",
                    "git config core.fsmonitor /bin/false",
                    f"git config core.hooksPath {lab.folder}",
                    "git config filter.x.clean false",
                ),
            ),
        ),
        stream("hooks", task("do", lines("echo h > h.txt", hooks))),
        stream(
            "commit",
            task(
                "do",
                lines(
                    "echo more >> a.txt",
                    f"{COMMIT_AS_EVE} one",
                    "echo more >> a.txt",
                    f"{COMMIT_AS_EVE} two",
                    "git checkout -q -b mine",
                ),
            ),
        ),
        stream(
            "refs",
            task(
                "do",
                lines(
                    "echo r > r.txt",
                    "git update-ref refs/heads/main HEAD",
                    "git update-ref refs/heads/evil HEAD",
                    "git tag evil",
                ),
            ),
        ),
        stream("remove", task("do", lines("echo g > g.txt", "rm -rf .git"))),
        stream("fake", task("do", lines("echo k > k.txt", "rm -rf .git", "mkfifo .git"))),
        stream(
            "link",
            task("do", lines("echo l > l.txt", "rm -rf .git", f"ln -s {lab.repo}/.git .git")),
        ),
        stream(
            "index",
            task(
                "do",
                lines(
                    "echo i > i.txt",
                    "git update-index --assume-unchanged a.txt",
                    "echo more >> b.txt",
                    "git update-index --skip-worktree b.txt",
                ),
            ),
        ),
    )
    assert ran.state == "succeeded", ran.summary
    assert {"c.txt", "h.txt", "r.txt", "g.txt", "k.txt", "l.txt", "i.txt"} <= set(lab.files())
    assert lab.show("a.txt") == "a\nmore\nmore"
    assert lab.show("b.txt") == "b\nmore"
    assert (lab.repo / ".git/config").read_bytes() == config
    assert not mark.exists()
    assert not [f for f in (lab.repo / ".git/hooks").iterdir() if f.suffix != ".sample"]
    assert lab.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert "eve" not in lab.git("log", "--all", "--format=%an %cn %s")


def test_a_tool_without_its_git_folder_does_not_find_the_repository_around_the_home(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(lab.repo)
    inside = Lab(lab.folder)
    inside.home = type(lab.home).at(lab.repo / ".state")
    monkeypatch.setenv("PATCHLINE_HOME", str(inside.home.root))
    before = lab.head()
    commit = "git add -A . && git -c user.name=eve -c user.email=e commit -qm eve"
    ran = inside.run(
        stream("core", task("do", f"rm -rf .git; echo x >> a.txt; {commit}; true")),
        gates={
            "ok": {"command": ["sh", "-c", "rm -rf .git; git rev-parse --git-dir && exit 1; true"]}
        },
    )
    inside.close()
    assert ran.state == "succeeded", ran.summary
    assert lab.git("log", "--format=%an %s", f"{before}..main") == "patchline Do do"
    assert lab.git("diff", "--cached", "--name-only") == ""


def test_a_tool_that_hangs_floods_or_leaves_processes_behind_is_ended(lab: Lab) -> None:
    flood = "import sys\nfor _ in range(3000): sys.stdout.write('x' * 10000 + '\\n')\n"
    behind = (
        "setsid sh -c 'trap \"\" TERM; while :; do echo y >> b.txt; sleep 0.05; done' & sleep 0.2"
    )
    ran = lab.run(
        alone("hang", "sleep 60", timeout_sec=0.3, max_retries=1),
        alone("silent", "sleep 60", tool_silence_sec=0.3),
        stream("flood", task("do", f'{sys.executable} -c "{flood}"; echo f > f.txt')),
        stream("behind", task("do", f"{behind}; echo g > g.txt")),
        **TOLERANT,
    )
    assert ran.state == "succeeded"
    hang = ran.task("hang/do")
    assert (hang.state, hang.attempts, hang.retry_count, hang.timeout_occurred) == (
        "failed",
        2,
        1,
        True,
    )
    assert "timed out after 0.3 s" in hang.reason
    assert ran.task("silent/do").state == "failed"
    (flooded,) = ran.attempts("flood/do")
    assert flooded.output_bytes == 3000 * 10001
    assert len(flooded.output) < 1_100_000
    assert {"f.txt", "g.txt"} <= set(lab.files())


def test_a_tool_that_removes_everything_or_locks_folders_spoils_no_other_task(lab: Lab) -> None:
    """One sandbox serves all: each task and gate finds exactly the tree it should."""
    make_repository(lab.repo, {"a.txt": "a\n", "src/one.py": "x = 1\n", ".gitignore": "out/\n"})
    clean = lines(
        "test ! -e out",
        "test ! -e src/.git",
        "test ! -e odd.pipe",
        "test ! -e junk",
        "test ! -e deep",
        'test "$(git status --porcelain)" = "" || test "$PATCHLINE_GATE" = ok',
        'test "$(cat src/one.py)" = "x = 1"',
        "grep -q a a.txt",
    )
    tasks = [
        task("wreck", "rm -rf ./* .git .gitignore; echo x; exit 1", critical=False),
        task(
            "lock",
            "mkdir -p deep/down; echo x > deep/down/f; chmod 000 deep/down deep src; exit 1",
            critical=False,
        ),
        task(
            "litter",
            "mkdir out src/.git; echo x > out/f; echo x > src/.git/config; mkfifo odd.pipe "
            "src/odd.pipe; echo x > junk; exit 1",
            critical=False,
        ),
        task("relink", "rm -rf src; ln -s /etc src; exit 1", critical=False),
        task(
            "quiet",
            "touch -r a.txt stamp; echo b > a.txt; touch -r stamp a.txt; rm stamp; exit 1",
            critical=False,
        ),
    ]
    checked: list[dict[str, object]] = []
    for index, one in enumerate(tasks):
        checked += [
            stream(f"s{index}", one, critical=False),
            stream(
                f"t{index}", task("good", f"{clean}\ntest ! -e src/odd.pipe\necho x > t{index}.txt")
            ),
        ]
    ran = lab.run(
        *checked, max_concurrent=1, gates={"ok": {"command": ["sh", "-c", clean]}}, **TOLERANT
    )
    assert ran.state == "succeeded", [t["reason"] for t in ran.summary["tasks"]]
    assert len(lab.store.find("uet_worker", run_id=ran.run_id)) == 1
