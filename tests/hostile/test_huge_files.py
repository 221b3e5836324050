"""A patch file that is far too large, or no file at all, is refused without being read."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from resources.patch_policy import Scope
from resources.patches.check import Checked, check_patch
from resources.specs import PolicySpec
from state.errors import PatchlineError
from tests.hostile.scenery import Scenery

GIBIBYTE, MEBIBYTE = 1 << 30, 1 << 20
SECONDS = 1.0
UNHURRIED = 10.0


def checked(scenery: Scenery, source: Path) -> Checked | None:
    """The answer; None when the source is refused as no file."""
    try:
        return check_patch(scenery.repository, scenery.base, source, Scope(), PolicySpec())
    except PatchlineError:
        return None


def bytes_read() -> int:
    """Bytes that this process has read so far, and those of its children that have ended."""
    (found,) = re.findall(r"^rchar: (\d+)$", Path("/proc/self/io").read_text(), re.MULTILINE)
    return int(found)


def peak_kibibytes() -> int:
    """The largest this process has been since the peak was forgotten."""
    (found,) = re.findall(
        r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE
    )
    return int(found)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def test_a_patch_of_a_gibibyte_is_refused_without_being_read(
    scenery: Scenery, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.patch"
    with huge.open("wb") as file:
        file.write(b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n")
        file.truncate(GIBIBYTE)
    forget_peak()
    before, small, started = bytes_read(), peak_kibibytes(), time.monotonic()
    found = checked(scenery, huge)
    took = time.monotonic() - started
    assert found
    assert found.verdict == "reject"
    assert [reason.code for reason in found.reasons] == ["oversize"]
    assert bytes_read() - before < MEBIBYTE
    assert peak_kibibytes() - small < 16 * 1024
    assert took < SECONDS


def test_one_byte_more_than_allowed_is_refused(scenery: Scenery, tmp_path: Path) -> None:
    almost = tmp_path / "almost.patch"
    almost.write_bytes(b"x" * MEBIBYTE)
    found = checked(scenery, almost)
    assert found
    assert "oversize" not in {reason.code for reason in found.reasons}
    almost.write_bytes(b"x" * (MEBIBYTE + 1))
    found = checked(scenery, almost)
    assert found
    assert {reason.code for reason in found.reasons} == {"oversize"}


def test_what_is_no_file_is_not_read_for_ever(scenery: Scenery, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source in (pipe, Path("/dev/zero"), tmp_path):
        before, started = bytes_read(), time.monotonic()
        found = checked(scenery, source)
        assert found is None or found.verdict == "reject", source
        assert bytes_read() - before < 4 * MEBIBYTE
        assert time.monotonic() - started < UNHURRIED


def test_a_file_that_grows_while_it_is_read_is_read_to_the_limit_only(
    scenery: Scenery, tmp_path: Path
) -> None:
    growing = tmp_path / "growing.patch"
    growing.write_bytes(b"")
    stop = threading.Event()

    def grow() -> None:
        with growing.open("ab", buffering=0) as file:
            while not stop.is_set() and file.tell() < 256 * MEBIBYTE:
                file.write(b"x" * MEBIBYTE)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(5):
            before = bytes_read()
            found = checked(scenery, growing)
            assert found
            assert found.verdict == "reject"
            assert bytes_read() - before < 4 * MEBIBYTE
    finally:
        stop.set()
        writer.join()


def test_a_gibibyte_from_a_pipe_is_read_to_the_limit_only(scenery: Scenery) -> None:
    """`patch check -` in a shell: the writer is told to stop after a mebibyte or so."""
    command = [Path(sys.executable).with_name("patchline"), "patch", "check", "-"]
    where = ["--repo", str(scenery.folder / "repo"), "--base", scenery.base]
    process = subprocess.Popen(
        [*map(str, command), *where, "--json"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    written = 0
    try:
        while written < GIBIBYTE:
            written += process.stdin.write(b"x" * 65536) or 0
    except BrokenPipeError:
        process.stdin.close()
        process.stdin = None
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1, out
    assert b'"oversize"' in out
    assert written < 8 * MEBIBYTE
