"""Tools as a plan describes them: what they are told, and how their end is judged."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from resources.commands.redaction import MASK, Redactor, declared_secrets
from resources.specs import ToolSpec
from resources.tools import (
    TEXT_LIMIT,
    CommandExpansionError,
    ToolOutcome,
    ToolResult,
    ToolRun,
    expand_command,
    last_line,
    limited,
    run_tool,
)

VALUES = {
    "prompt": "Fix {files} and {task}; $HOME `id`",
    "worktree": "/tree",
    "feedback": "it\nfailed",
    "task": "core/imports",
    "attempt": "2",
    "plan_dir": "/plans",
}
SHOW = """
import json, os, sys
json.dump({"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}, sys.stdout)
"""


def tool(tmp_path: Path, command: list[str], **options: Any) -> ToolResult:
    stop = options.pop("stop", None)
    given = {name: options.pop(name) for name in ("files", "prompt", "feedback") if name in options}
    env = options.pop("task_env", {})
    timeout_sec = options.pop("task_timeout_sec", None)
    run = ToolRun(
        spec=ToolSpec(command=tuple(command), **options),
        prompt=given.get("prompt", "Do it."),
        files=given.get("files", []),
        feedback=given.get("feedback", ""),
        worktree=tmp_path,
        run_id="run_1",
        task="core/imports",
        attempt=2,
        plan_dir=tmp_path / "plans",
        timeout_sec=timeout_sec,
        env=env,
    )
    return run_tool(run, stop=stop)


def shell(tmp_path: Path, script: str, **options: Any) -> ToolResult:
    return tool(tmp_path, ["sh", "-c", script], **options)


def shown(tmp_path: Path, *arguments: str, **options: Any) -> dict[str, Any]:
    result = tool(tmp_path, [sys.executable, "-S", "-E", "-c", SHOW, *arguments], **options)
    assert result.outcome is ToolOutcome.SUCCEEDED, result.reason
    return json.loads(result.output)


def test_placeholders_are_replaced_once_and_never_by_a_shell() -> None:
    command = [
        "do",
        "{prompt}",
        "--in={worktree}",
        "{task}#{attempt}",
        "{feedback}",
        "{plan_dir}/x",
    ]
    assert expand_command(command, VALUES, ["a.py"]) == [
        "do",
        "Fix {files} and {task}; $HOME `id`",
        "--in=/tree",
        "core/imports#2",
        "it\nfailed",
        "/plans/x",
    ]


def test_files_alone_become_one_argument_each_and_within_an_argument_are_joined() -> None:
    files = ["a b.py", "new\nline.py", "-rf", "sub/-x.py"]
    assert expand_command(["fix", "{files}", "--all={files}"], VALUES, files) == [
        "fix",
        "a b.py",
        "new\nline.py",
        "./-rf",
        "sub/-x.py",
        "--all=a b.py new\nline.py ./-rf sub/-x.py",
    ]
    assert expand_command(["fix", "{files}", "[{files}]"], VALUES, []) == ["fix", "[]"]


@pytest.mark.parametrize(
    "argument", ['{"a": {"b": 1}}', "{}", "{{}}", "{other}", "{ prompt }", "${HOME}", "{PROMPT}"]
)
def test_other_braces_are_left_alone(argument: str) -> None:
    assert expand_command(["x", argument], VALUES, []) == ["x", argument]


def test_a_nul_in_a_value_or_file_name_is_refused() -> None:
    with pytest.raises(CommandExpansionError, match=r"\{prompt\} holds a NUL"):
        expand_command(["x"], {**VALUES, "prompt": "a\0b"}, [])
    with pytest.raises(CommandExpansionError, match=r"\{files\} holds a NUL"):
        expand_command(["x"], VALUES, ["a\0b"])


def test_a_placeholder_without_a_value_is_refused_by_name() -> None:
    with pytest.raises(CommandExpansionError, match=r"uses \{feedback\}.*\{task\}"):
        expand_command(["x", "{feedback}"], {"task": "t"}, [])


def test_a_tool_is_told_everything_by_arguments_and_variables(tmp_path: Path) -> None:
    told = shown(
        tmp_path, "{files}", "{task}", files=["a b.py", "-c.py"], prompt="P", feedback="F\nG"
    )
    assert told["argv"] == ["a b.py", "./-c.py", "core/imports"]
    assert told["cwd"] == str(tmp_path)
    ours = {name: value for name, value in told["env"].items() if name.startswith("PATCHLINE_")}
    del ours["PATCHLINE_PROCESS"]
    assert ours == {
        "PATCHLINE_RUN": "run_1",
        "PATCHLINE_TASK": "core/imports",
        "PATCHLINE_ATTEMPT": "2",
        "PATCHLINE_PROMPT": "P",
        "PATCHLINE_FEEDBACK": "F\nG",
        "PATCHLINE_FILES": "a b.py\n-c.py",
    }


def test_variables_come_from_the_allow_list_the_tool_and_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANTED", "yes")
    monkeypatch.setenv("UNWANTED", "no")
    env = shown(
        tmp_path,
        env_allow=("WANTED",),
        env={"A": "tool", "B": "tool", "PATCHLINE_RUN": "forged"},
        task_env={"B": "task"},
    )["env"]
    assert (env["WANTED"], env["A"], env["B"]) == ("yes", "tool", "task")
    assert env["PATCHLINE_RUN"] == "run_1"
    assert "UNWANTED" not in env


def test_the_exit_code_is_judged_by_the_tools_own_lists(tmp_path: Path) -> None:
    options = {"expected_exit_codes": (0, 3), "permanent_exit_codes": (4,)}
    seen = {}
    for code in (0, 3, 4, 5):
        result = shell(tmp_path, f"echo thinking; echo no luck; exit {code}", **options)
        assert result.exit_code == code
        seen[code] = (str(result.outcome), result.retryable)
    assert seen == {
        0: ("succeeded", True),
        3: ("succeeded", True),
        4: ("permanent", False),
        5: ("failed", True),
    }
    assert result.reason == "exit code 5: no luck"
    assert result.output == "thinking\nno luck\n"


def test_death_by_a_signal_is_a_failure_that_names_it(tmp_path: Path) -> None:
    result = shell(tmp_path, "kill -SEGV $$")
    assert (result.outcome, result.signal) == (ToolOutcome.FAILED, 11)
    assert result.reason == "killed by signal 11 (SIGSEGV)"


def test_a_deadline_silence_and_a_stop_are_told_apart(tmp_path: Path) -> None:
    late = shell(tmp_path, "sleep 60", timeout_sec=30, task_timeout_sec=0.2)
    assert (late.outcome, late.timed_out, late.retryable) == (ToolOutcome.TIMED_OUT, True, True)
    assert late.reason == "timed out after 0.2 s"
    mute = shell(tmp_path, "sleep 60", silence_sec=0.2)
    assert (mute.outcome, mute.silent, mute.timed_out) == (ToolOutcome.SILENT, True, False)
    assert mute.reason == "printed nothing for 0.2 s"
    stop = threading.Event()
    stop.set()
    ended = shell(tmp_path, "sleep 60", stop=stop)
    assert ended.outcome is ToolOutcome.STOPPED
    assert ended.reason.startswith("stopped on request")


def test_the_tools_own_deadline_holds_when_the_task_has_none(tmp_path: Path) -> None:
    assert shell(tmp_path, "sleep 60", timeout_sec=0.2).timed_out


def test_a_tool_that_cannot_be_started_is_a_result_and_not_retried(tmp_path: Path) -> None:
    missing = tool(tmp_path, ["no-such-program"])
    assert (missing.outcome, missing.retryable) == (ToolOutcome.NOT_STARTED, False)
    assert missing.exit_code is None
    assert "'no-such-program'" in missing.reason
    refused = tool(tmp_path, ["echo", "{prompt}"], prompt="a\0b")
    assert (refused.outcome, refused.retryable) == (ToolOutcome.NOT_STARTED, False)
    gone = tool(tmp_path / "gone", ["true"])
    assert (gone.outcome, gone.retryable) == (ToolOutcome.NOT_STARTED, True)


def test_very_long_texts_reach_the_tool_by_their_tails(tmp_path: Path) -> None:
    files = [f"{'deep/' * 20}{n}.py" for n in range(2000)]
    prompt = "p" * 300_000 + "END"
    feedback = "é" * 300_000 + "END"
    code = """
import json, os, sys
env = os.environ
print(json.dumps([sys.argv[1][:40], sys.argv[1][-40:], len(sys.argv) - 2,
    env["PATCHLINE_PROMPT"] + env["PATCHLINE_FEEDBACK"] == sys.argv[1],
    env["PATCHLINE_FILES"].split("\\\\n")[0] in sys.argv, env["PATCHLINE_FILES"][-7:]]))
""".replace("\\\\n", "\\n")
    result = tool(
        tmp_path,
        [sys.executable, "-S", "-E", "-X", "utf8", "-c", code, "{prompt}{feedback}", "{files}"],
        files=files,
        prompt=prompt,
        feedback=feedback,
    )
    assert result.outcome is ToolOutcome.SUCCEEDED, result.reason
    head, tail, count, same, whole_name, last = json.loads(result.output)
    assert head.startswith(f"[patchline: {300_003 - TEXT_LIMIT} bytes cut")
    assert tail.endswith("ééEND")
    assert (count, same, whole_name, last) == (2000, True, True, "1999.py")


def test_a_text_that_fits_is_not_touched() -> None:
    assert limited("x" * 100, 100) == "x" * 100
    assert limited("x" * 101, 100) == "[patchline: 1 bytes cut here]\n" + "x" * 100


def test_the_last_line_is_short_and_without_terminal_codes() -> None:
    assert last_line("one\n\x1b[31mError: bad\x1b[0m\n\n  \n") == "Error: bad"
    assert last_line("") == ""
    assert len(last_line("x" * 5000)) == 200


def test_a_secret_given_to_the_tool_never_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "plain-looking-value")
    result = shell(
        tmp_path,
        'echo "token: $SERVICE_TOKEN, password: $DB_PASSWORD"; echo "$SERVICE_TOKEN" >&2; exit 1',
        env_allow=("SERVICE_TOKEN",),
        env={"DB_PASSWORD": "hunter22"},
    )
    assert result.output == f"token: {MASK}, password: {MASK}\n{MASK}\n"
    assert result.reason == f"exit code 1: {MASK}"


# Split so that no scanner takes this file for a leak.
TOKENS = [
    "gh" + "p_" + "a1B2" * 9,
    "github" + "_pat_" + "A1b2" * 10,
    "sk" + "-proj-" + "a1B2" * 8,
    "sk" + "-ant-api03-" + "a1B2" * 8,
    "sk" + "_live_" + "a1B2" * 6,
    "AK" + "IA" + "ABCD1234" * 2,
    "xox" + "b-123456789012-abcdef",
    "glpat" + "-" + "a1B2" * 5,
    "AI" + "za" + "a1B2c" * 7,
    "ey" + "JhbGciOiJI." + "eyJzdWIiOiIx." + "abcdefghijk",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIabc\ndef==\n-----END RSA " + "PRIVATE KEY-----",
]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:8].strip("-"))
def test_known_kinds_of_tokens_are_masked_wherever_they_stand(token: str) -> None:
    redact = Redactor()
    assert redact(token) == MASK
    for before, after in (("key=", "\n"), ('"', '"'), ("key: ", ", next"), ("(", ")")):
        assert redact(before + token + after) == before + MASK + after


def test_of_headers_and_addresses_only_the_secret_part_is_masked() -> None:
    redact = Redactor()
    assert redact("Authorization: Bearer abcdef0123456789xyz") == f"Authorization: Bearer {MASK}"
    assert redact("authorization: Basic dXNlcjpwYXNz") == f"authorization: Basic {MASK}"
    assert redact("git clone https://me:hunter22@host/x") == f"git clone https://me:{MASK}@host/x"


def test_a_private_key_cut_in_two_is_masked_on_both_sides() -> None:
    redact = Redactor()
    begin, end = "-----BEGIN " + "PRIVATE KEY-----", "-----END " + "PRIVATE KEY-----"
    assert redact(f"log\n{begin}\nMIIabcdef") == f"log\n{MASK}"
    assert redact(f"abcdef==\n{end}\nlog") == f"{MASK}\nlog"


@pytest.mark.parametrize(
    "text",
    [
        "task-runner sk-learn-is-a-library-for-people",
        "The bearer of this letter",
        "ghp_short",
        "https://example.org:8080/path@x",
        "tests/test_a.py::test_b PASSED [ 50%]",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "from eyJ import x",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor()(text) == text


def test_declared_secrets_are_masked_whole_and_line_by_line_longest_first() -> None:
    redact = Redactor(["abcdef", "abcdefghij", "first line\nsecond line", "short", ""])
    assert redact("abcdefghij abcdef short") == f"{MASK} {MASK} short"
    assert redact("x first line\ny second line") == f"x {MASK}\ny {MASK}"


def test_variables_with_secret_names_are_declared() -> None:
    env = {"API_KEY": "a", "GH_TOKEN": "b", "MY_SECRET": "c", "DbPassword": "d", "PATH": "e"}
    assert declared_secrets(env) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "unit",
    [
        *("sk-", "eyJ", "eyJaaaaaaaa.", "ghp_", "Bearer ", "://a:", "-----BEGIN PRIVATE KEY-----"),
        *("a", "authorization: basic ", "xoxb-", "PRIVATE KEY A\n", "://a", "sk_live_"),
    ],
)
def test_hostile_output_does_not_make_redaction_slow(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.thread_time()
    Redactor(["a-secret-value", "another-secret"])(text)
    assert time.thread_time() - began < 2.0


def test_the_environment_of_this_process_is_not_changed(tmp_path: Path) -> None:
    before = dict(os.environ)
    shell(tmp_path, "true", env={"NEW": "1"})
    changed = {
        name for name in before | dict(os.environ) if before.get(name) != os.environ.get(name)
    }
    assert changed == set()
