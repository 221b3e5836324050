"""Every block of docs/RUNBOOKS.md, run as it stands there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import PATCHLINE, Shell, script

PAGE = Path(__file__).parents[2] / "docs" / "RUNBOOKS.md"
SHOP = "def total(price):\n    return price\n"
DOUBLES = "sed -i 's/return price$/return price * 2/' shop.py"
MENDED = """\
diff --git a/shop.py b/shop.py
--- a/shop.py
+++ b/shop.py
@@ -1,2 +1,3 @@
+import math
 def total(price):
     return price * 2
"""


def blocks(heading: str) -> list[str]:
    """The shell blocks under a heading."""
    (section,) = re.findall(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S
    )
    return re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)


class Desk:
    """A person at a terminal in the repository."""

    def __init__(self, shell: Shell, **variables: str) -> None:
        self.shell = shell
        path = f"{PATCHLINE.parent}{os.pathsep}{os.environ['PATH']}"
        who = {f"GIT_{role}_NAME": "ann" for role in ("AUTHOR", "COMMITTER")}
        who |= {f"GIT_{role}_EMAIL": "ann@localhost" for role in ("AUTHOR", "COMMITTER")}
        self.env = {**shell.environment(), **who, "PATH": path, **variables}

    def paste(self, block: str) -> str:
        """Run a block; every command of it must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.shell.repo,
            env=self.env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A run that landed a bad change, and one patch of which a gate refused."""
    shell = Shell(tmp_path_factory.mktemp("runbooks") / "work")
    shell.folder.mkdir()
    shell.make_repo()
    (shell.repo / "shop.py").write_text(SHOP)
    shell.git("add", "-A")
    shell.git("commit", "-qm", "A shop")
    plan = shell.plan(
        tools={"doubles": script(DOUBLES), "poor": script("echo poor > a.txt")},
        defaults={"max_retries": 0},
        gates={"ok": script("true"), "imports": script("grep -q import shop.py")},
        workstreams=[
            {"id": "shop", "gates": ["ok"], "tasks": [{"id": "price", "tool": "doubles"}]},
            {
                "id": "text",
                "gates": ["ok"],
                "tasks": [{"id": "words", "tool": "poor", "gates": ["imports"]}],
            },
        ],
    )
    assert shell.run("run", plan).code == 1
    shell.keep()
    return shell


@pytest.fixture
def shell(template: Shell) -> Shell:
    """The folder as the run has left it: at its own place, which the state knows."""
    template.restore()
    return template


def entry(shell: Shell, state: str) -> str:
    with shell.store() as store:
        (found,) = store.find("patch_ledger", state=state)
    return found.ledger_id


def test_a_bad_change_is_found_and_undone_in_three_commands(shell: Shell) -> None:
    undo, prove = blocks("Find and undo a bad change")
    assert len(undo.strip().splitlines()) == 3
    assert "price * 2" in (shell.repo / "shop.py").read_text()
    said = Desk(shell).paste(undo)
    assert "shop/price" in said
    assert "+    return price * 2" in said
    assert (shell.repo / "shop.py").read_text() == SHOP
    assert shell.git("show", "main:shop.py") == SHOP.strip()
    assert shell.git("status", "--porcelain") == ""
    assert "is proven." in Desk(shell).paste(prove)
    undone = shell.run("verify", "main~1")
    assert undone.code == 0
    assert "later rolled back by led_" in undone.out


def test_a_quarantined_patch_is_replaced(shell: Shell) -> None:
    look, replace, _ = blocks("A patch in quarantine")
    desk = Desk(shell, ledger=entry(shell, "quarantined"))
    assert "gate imports failed" in desk.paste(look)
    (shell.repo / "mended.patch").write_text(MENDED)
    desk.paste(replace)
    assert shell.git("show", "main:shop.py").startswith("import math")


def test_a_quarantined_patch_is_dropped(shell: Shell) -> None:
    _, _, drop = blocks("A patch in quarantine")
    desk = Desk(shell, ledger=entry(shell, "quarantined"))
    assert "is dropped" in desk.paste(drop)


def test_a_stopped_run_is_resumed(shell: Shell) -> None:
    (again,) = blocks("A run that stopped")
    plan = shell.plan(
        plan="later",
        tools={"write": script("echo $PATCHLINE_TASK > new.txt")},
        workstreams=[{"id": "c", "gates": ["ok"], "tasks": [{"id": "one"}]}],
        defaults={"tool": "write"},
    )
    open_only = f"""
import sys
from pathlib import Path
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import register
from pipeline_defs.runs import Launch, open_run
from state.home import Home
from state.store import StateStore
home = Home.find()
with StateStore.open(home.database_url, events=home.events) as store:
    open_run(store, home, Launch(register(home, load_plan(Path({plan!r})))))
"""
    desk = Desk(shell)
    program = [str(PATCHLINE.with_name("python")), "-c", open_only]
    root = str(PAGE.parents[1])
    subprocess.run(program, env={**desk.env, "PYTHONPATH": root}, cwd=shell.folder, check=True)
    assert "succeeded" in desk.paste(again)


def test_a_damaged_event_file_is_written_anew(shell: Shell) -> None:
    (mend,) = blocks("A damaged event file")
    events = shell.home.events
    whole = events.read_bytes()
    lines = whole.splitlines(keepends=True)
    middle = len(lines) // 2
    events.write_bytes(b"".join([*lines[:middle], b"{}\n", *lines[middle + 1 :]]))
    Desk(shell).paste(mend)
    assert events.read_bytes() == whole


def test_local_changes_survive_a_rollback(shell: Shell) -> None:
    (aside,) = blocks("The target is checked out with local changes")
    (shell.repo / "a.txt").write_text("my work\n")
    desk = Desk(shell, ledger=entry(shell, "committed"))
    refused = shell.run("rollback", desk.env["ledger"], "--reason", "x")
    assert refused.code != 0
    assert "local changes" in refused.err
    desk.paste(aside)
    assert (shell.repo / "a.txt").read_text() == "my work\n"
    assert (shell.repo / "shop.py").read_text() == SHOP


def test_every_block_of_the_page_is_run_here() -> None:
    source = Path(__file__).read_text()
    headings = re.findall(r"^## (.*)$", PAGE.read_text(), re.M)
    assert [one for one in headings if f'"{one}"' not in source] == []
