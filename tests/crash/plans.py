"""The plans that are crashed: tasks are one-line scripts, and nothing of them depends on luck.

Whatever a task has to do again after a crash comes to the same files, so that a run that was killed
has to end with the very tree of one that was not.
"""

from typing import Any

FILES = {"a.txt": "a\n", "b.txt": "b\n", "c.txt": "c\n", "notes/n.txt": "n\n"}
GATES = {
    "ok": {"command": ["true"]},
    "no-bad": {"command": ["sh", "-c", "! grep -rq bad --include=*.txt ."]},
}
BAD_AT_FIRST = 'if test -n "$PATCHLINE_FEEDBACK"; then {good}; else {bad}; fi'
"""A task learns from what was wrong with its first patch."""
MANY = 30
"""Retries of a task that crashes use up: more than any test kills."""


def task(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A task whose tool is the shell, and its prompt a script."""
    return {"id": name, "title": f"Do {name}", "prompt": script, "max_retries": MANY, **more}


def stream(name: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": name, "gates": ["ok"], "tasks": list(tasks), **more}


def plan(name: str, *streams: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A plan on the repository beside it."""
    return {
        "plan": name,
        "repo": "repo",
        "max_concurrent": 1,
        "defaults": {"tool": "sh", "retry": {"base_sec": 0.01, "cap_sec": 0.02}},
        "tools": {"sh": {"command": ["sh", "-c", "{prompt}"], "permanent_exit_codes": [9]}},
        "gates": GATES,
        "policy": {"allow_noncritical_failures": True},
        "workstreams": list(streams),
        **more,
    }


SMALL = plan("small", stream("core", task("one", "echo one >> a.txt")))
"""One task; the target is checked out and moves along."""

PAST = plan(
    "past",
    stream(
        "core",
        task(
            "one",
            "echo one >> a.txt",
            compensation=[
                {"action": "command", "command": ["sh", "-c", "echo undone >> {plan_dir}/undone"]},
                {"action": "notify", "message": "one was taken back"},
            ],
        ),
        task("two", "echo two >> a.txt", depends_on=["one"]),
    ),
    stream(
        "lost",
        task("bad", "echo bad >> b.txt", gates=["no-bad"], max_retries=0),
        critical=False,
    ),
)
"""A run that has ended: two patches have landed, one is quarantined."""

REPLACEMENT = """\
diff --git a/b.txt b/b.txt
--- a/b.txt
+++ b/b.txt
@@ -1 +1,2 @@
 b
+good
"""

MERGED = plan(
    "merged",
    stream("core", task("one", "echo one >> a.txt")),
    stream(
        "side",
        task(
            "fix",
            BAD_AT_FIRST.format(
                good="echo good >> b.txt", bad="echo bad $PATCHLINE_ATTEMPT >> b.txt"
            ),
            gates=["no-bad"],
        ),
    ),
    stream("lost", task("never", "echo x >> c.txt; exit 9"), critical=False),
)
"""Two workstreams on the same base, so that the second merge is no fast-forward; a failed gate and
another attempt; a workstream that fails and is archived."""

PUSH = (
    "cd {plan_dir}/repo && git log --format=%s main | grep -qx Person || {"
    " echo person >> notes/n.txt;"
    " git -c user.name=ann -c user.email=ann@localhost commit -qam Person; }"
)
PUSHED = plan(
    "pushed",
    stream("core", task("one", "echo one >> a.txt", gates=["ok"]), gates=["push"]),
    gates={**GATES, "push": {"command": ["sh", "-c", PUSH]}},
)
"""While the merge is judged, a person commits to the target."""

WAIT_FOR = "for i in $(seq 400); do test -e {flag} && break; sleep 0.02; done"
HAS_LANDED = (
    "for i in $(seq 400); do git -C {repo} log --branches --format=%s |"
    " grep -qx 'Do {task}' && break; sleep 0.02; done"
)


def whole(folder: str) -> dict[str, Any]:
    """Everything at once, in two threads.

    `left` and `right` change the same line from the same base, so the later one conflicts and is
    done again: the first waits until the second has begun, the second until the first has landed.
    """
    began = f"{folder}/right-began"
    return plan(
        "whole",
        stream(
            "core",
            task("one", "echo one >> a.txt"),
            task(
                "stray",
                BAD_AT_FIRST.format(
                    good="echo stray >> notes/n.txt", bad="echo $PATCHLINE_ATTEMPT >> b.txt"
                ),
                files_scope=["notes/**"],
                depends_on=["one"],
            ),
        ),
        stream(
            "pair",
            task("left", f"{WAIT_FOR.format(flag=began)}; echo left > c.txt"),
            task(
                "right",
                f"touch {began}; {HAS_LANDED.format(repo=f'{folder}/repo', task='left')};"
                " echo right > c.txt",
            ),
        ),
        *MERGED["workstreams"][1:],
        max_concurrent=2,
    )
