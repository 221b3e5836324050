"""A sample of the corpus through `patchline patch check`: exit codes, JSON, harmless output."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from resources.effects import printable
from tests.cli.shell import Result, Shell, example_plan
from tests.hostile.answers import is_harmless
from tests.hostile.base import make_base
from tests.hostile.cases import Case
from tests.hostile.corpus.all import corpus
from tests.hostile.scenery import Snapshot, snapshot

SAMPLE = (
    *("edit-a.txt", "text-mail", "file-rename", "scope-create-there", "allowed-binary"),
    *("looks-like-headers", "scope-second-file", "forbid-edit", "git-14-.git::$INDEX_ALLOCATION"),
    *("escape-0-../outside.txt", "characters-escape", "characters-not-utf8", "link-out-up"),
    *("submodule-new", "mode-exec-on", "binary-new", "secret-github", "oversize-hunks"),
    *("empty-nothing", "malformed-second-cut", "lie-header-names-another", "conflict-other-line"),
)
ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")


class Place:
    """A shell beside the base's repository, with a HOME of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "user").mkdir(parents=True)
        (folder / "temporary").mkdir()
        self.base = make_base(folder / "repo")
        self.shell = Shell(folder)
        self.patch = folder.with_name("the.patch")
        self.plan = folder.with_name("plan.yaml")

    def snapshot(self) -> Snapshot:
        found = snapshot(self.folder)
        found[str(self.folder / "temporary")] = (0,)
        return found

    def check(self, case: Case, *words: str, form: tuple[str, ...] = ("--json",)) -> Result:
        """Run the command on a case."""
        self.patch.write_bytes(case.patch)
        words = ("--base", self.base, *words)
        words = ("--repo", "repo", *words)
        for option, globs in (("--scope", case.scope), ("--create", case.create)):
            words += tuple(word for glob in globs for word in (option, glob))
        if case.policy:
            plan = example_plan(self.folder) | {"policy": dict(case.policy)}
            self.plan.write_text(yaml.safe_dump(plan))
            words += ("--plan", str(self.plan))
        env = {"HOME": str(self.folder / "user"), "TMPDIR": str(self.folder / "temporary")}
        return self.shell.run("patch", "check", str(self.patch), *words, *form, env=env)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("hostile") / "shell")


@pytest.mark.parametrize("name", SAMPLE)
def test_the_command_says_what_the_library_says(place: Place, name: str) -> None:
    case = corpus()[name]
    before = place.snapshot()
    done = place.check(case)
    assert place.snapshot() == before
    assert not os.listdir(place.folder / "temporary")
    assert "Traceback" not in done.err
    assert done.code == int(case.malicious), done
    document = json.loads(done.out)
    assert list(document) == ["verdict", "reasons", "effects"]
    assert document["verdict"] == ("reject" if case.malicious else "accept")
    for spelled, path in case.reasons:
        found = [r for r in document["reasons"] if r["code"] in spelled.split("|")]
        assert found, document["reasons"]
        if path is not None:
            assert {r["path"] for r in found} & {path, printable(path)}
    if case.effects is not None:
        told = {effect["path"]: effect["change"] for effect in document["effects"]}
        assert told == case.effects
    for effect in document["effects"]:
        assert set(effect) == {"path", "change", "old_path", "old_mode", "new_mode"}
    assert is_harmless(done.out)


@pytest.mark.parametrize(
    "name",
    ["characters-escape", "characters-osc", "characters-bidi-override", "characters-return",
     "characters-newline-header", "hidden-by-a-return", "looks-terminal-codes",
     "characters-not-utf8", "malformed-noise"],
)  # fmt: skip
def test_nothing_of_a_patch_reaches_a_persons_terminal_as_it_is(place: Place, name: str) -> None:
    case = corpus()[name]
    done = place.check(case, form=())
    assert done.code == int(case.malicious)
    assert is_harmless(ESCAPE_CODES.sub("", done.out + done.err))
    assert "Traceback" not in done.err
    if case.malicious:
        assert any(code in done.out for spelled, _ in case.reasons for code in spelled.split("|"))


def test_forbidden_globs_may_be_given_on_the_command_line(place: Place) -> None:
    case = corpus()["edit-a.txt"]
    done = place.check(case, "--forbid", "*.txt")
    assert done.code == 1
    assert [reason["code"] for reason in done.json["reasons"]] == ["forbidden_path"]


def test_a_patch_file_with_a_hostile_name_is_only_a_file(place: Place) -> None:
    place.patch = place.folder.with_name("--json $(touch pwned)\x1b[2J.patch")
    before = place.snapshot()
    done = place.check(corpus()["edit-a.txt"], form=())
    assert done.code == 0, done
    assert is_harmless(ESCAPE_CODES.sub("", done.out + done.err))
    assert place.snapshot() == before
    place.patch = place.folder.with_name("the.patch")
