"""The codemods of the examples, run as a plan runs them: as commands on files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODEMODS = Path(__file__).parents[2] / "examples" / "codemods"


def run(name: str, *arguments: str, folder: Path, feedback: str = "") -> tuple[int, str]:
    """Run a codemod in the folder; its exit code and everything it printed."""
    result = subprocess.run(
        [sys.executable, "-B", str(CODEMODS / name), *arguments],
        cwd=folder,
        env={**os.environ, "PATCHLINE_FEEDBACK": feedback},
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


def rewritten(name: str, before: str, *options: str, folder: Path, feedback: str = "") -> str:
    """The text after the codemod has run on it."""
    path = folder / "module.py"
    path.write_bytes(before.encode())
    code, output = run(name, *options, path.name, folder=folder, feedback=feedback)
    assert code == 0, output
    return path.read_bytes().decode()


TYPE_CHECKS = """\
def is_count(value):
    return type(value) == int  # exact


def is_name(größe):
    return "ü" and type(größe) != str
"""


def test_type_checks_become_isinstance_at_first(tmp_path: Path) -> None:
    after = rewritten("isinstance_checks.py", TYPE_CHECKS, folder=tmp_path)
    assert "return isinstance(value, int)  # exact\n" in after
    assert 'return "ü" and not isinstance(größe, str)\n' in after


def test_a_function_that_the_feedback_names_keeps_its_exact_check(tmp_path: Path) -> None:
    feedback = "E  +  where True = <function is_count at 0x7f00>(True)"
    after = rewritten("isinstance_checks.py", TYPE_CHECKS, folder=tmp_path, feedback=feedback)
    assert "return type(value) is int  # exact\n" in after
    assert "not isinstance(größe, str)" in after


def test_feedback_about_something_alike_changes_nothing(tmp_path: Path) -> None:
    after = rewritten(
        "isinstance_checks.py", TYPE_CHECKS, folder=tmp_path, feedback="FAILED test_is_count"
    )
    assert "isinstance(value, int)" in after


def test_an_opened_and_closed_file_becomes_a_with_block(tmp_path: Path) -> None:
    before = (
        "def read(name):\n"
        "    stream = open(name)\n"
        "    # every line\n"
        "    text = stream.read()\n"
        "\n"
        "    text = text.strip()\n"
        "    stream.close()\n"
        "    return text\n"
    )
    assert rewritten("with_open.py", before, folder=tmp_path) == (
        "def read(name):\n"
        "    with open(name) as stream:\n"
        "        # every line\n"
        "        text = stream.read()\n"
        "\n"
        "        text = text.strip()\n"
        "    return text\n"
    )


@pytest.mark.parametrize(
    "before",
    [
        pytest.param('f = open(n)\ng("""a\nb""")\nf.close()\n', id="multi-line string"),
        pytest.param("f = open(n)\nf = other(f)\nf.close()\n", id="name bound again"),
        pytest.param("f = open(n)\nif f:\n    f.close()\n", id="closed in another block"),
        pytest.param("f = open(n)\nf.close()\n", id="nothing in between"),
    ],
)
def test_an_opening_that_cannot_safely_be_moved_stays(before: str, tmp_path: Path) -> None:
    assert rewritten("with_open.py", before, folder=tmp_path) == before


def test_ends_of_lines_are_kept(tmp_path: Path) -> None:
    before = "f = open(n)\r\nx = f.read()\r\nf.close()\r\n"
    after = rewritten("with_open.py", before, folder=tmp_path)
    assert after == "with open(n) as f:\r\n    x = f.read()\r\n"


def test_aliases_are_inlined_and_their_import_goes(tmp_path: Path) -> None:
    before = (
        "from pkg.compat import text_type, unicode_ok, StringIO\n"
        "from pkg.compat import text\n"
        "\n"
        "\n"
        "@unicode_ok\n"
        "class A:\n"
        "    kind = text_type(text), A.text_type\n"
    )
    options = ["--module", "pkg.compat", "--alias", "text_type=str", "--decorator", "unicode_ok"]
    assert rewritten("inline_aliases.py", before, *options, folder=tmp_path) == (
        "from pkg.compat import StringIO\n"
        "from pkg.compat import text\n"
        "\n"
        "\n"
        "class A:\n"
        "    kind = str(text), A.text_type\n"
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("text_type = bytes", "text_type is assigned here"),
        ("def f(text_type): ...", "text_type is a parameter here"),
    ],
)
def test_a_file_that_binds_the_alias_itself_is_refused_and_left_alone(
    line: str, complaint: str, tmp_path: Path
) -> None:
    before = f"from pkg.compat import text_type\n{line}\n"
    path = tmp_path / "module.py"
    path.write_text(before)
    code, output = run(
        *["inline_aliases.py", "--module", "pkg.compat", "--alias", "text_type=str", path.name],
        folder=tmp_path,
    )
    assert code == 1
    assert f"module.py:2: {complaint}" in output
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if PY2:\n    a()\nelse:\n    b()\n    c()\n", "b()\nc()\n"),
        ("if PY3:\n    a()\nelif x:\n    b()\nd()\n", "a()\nd()\n"),
        ("if PY2:\n    a()\nelif PY3:\n    b()\nelse:\n    c()\n", "b()\n"),
        ("if not PY2:\n    @deco\n    def f(): ...\n", "@deco\ndef f(): ...\n"),
        ("def f():\n    if PY2:\n        a()\n", "def f():\n    pass\n"),
        ("if PY2:\n    a()\nelif x:\n    b()\n", "if PY2:\n    a()\nelif x:\n    b()\n"),
        ("if PY2 and x:\n    a()\n", "if PY2 and x:\n    a()\n"),
    ],
)
def test_branches_that_are_never_taken_go(before: str, after: str, tmp_path: Path) -> None:
    options = ["--constant", "PY2=False", "--constant", "PY3=True"]
    assert rewritten("fold_constants.py", before, *options, folder=tmp_path) == after


def test_dropping_unused_functions_also_edits_their_tests(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    module = tmp_path / "src" / "units.py"
    module.write_text("def a():\n    return 1\n\n\ndef b():\n    return 2\n\n\nX = b()\n")
    test = tmp_path / "tests" / "test_units.py"
    test.write_text(
        "from units import a, b\n\n\ndef test_a():\n    a()\n\n\ndef test_b():\n    b()\n"
    )
    assert run("drop_unused.py", "src/units.py", folder=tmp_path)[0] == 0
    assert "def a" not in module.read_text()
    assert test.read_text() == "from units import b\n\n\ndef test_b():\n    b()\n"


def test_a_file_that_is_not_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def\n")
    code, output = run("with_open.py", "module.py", folder=tmp_path)
    assert code == 1
    assert "module.py:1: not Python" in output
