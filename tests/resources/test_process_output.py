"""What real processes say and use: kept in order, capped, redacted, measured."""

import resource
from pathlib import Path

import pytest

from resources.commands.processes import Limits
from tests.resources.real_processes import python, run


def test_output_of_both_streams_comes_in_order_with_the_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "echo one; echo two >&2; echo three; exit 7")
    assert (done.exit_code, done.signal) == (7, None)
    assert done.output == "one\ntwo\nthree\n"
    assert done.output_bytes == 14
    assert (done.timed_out, done.silent, done.stopped) == (False, False, False)


def test_a_flood_keeps_head_and_tail_in_bounded_memory(tmp_path: Path) -> None:
    code = """
import os
os.write(1, b"the first line\\n")
block = b"x" * 65535 + b"\\n"
for _ in range(3000): os.write(1, block)
os.write(1, b"the last line\\n")
"""
    before = _peak_bytes()
    done = python(tmp_path, code, limits=Limits(output_bytes=100_000))
    assert done.output_bytes == 3000 * 65536 + 29
    assert done.output.startswith("the first line\n")
    assert done.output.endswith("\nthe last line\n")
    assert f"[patchline: {done.output_bytes - 100_000} bytes cut here]" in done.output
    assert len(done.output) < 100_100
    assert _peak_bytes() - before < 30_000_000


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("size", [99, 100, 101, 5000, 8291, 8292, 8293, 20_000])
def test_every_size_around_the_cap_keeps_the_right_bytes(tmp_path: Path, size: int) -> None:
    whole = "".join(chr(97 + n % 26) for n in range(size))
    done = run(tmp_path, "cat", input=whole.encode(), limits=Limits(output_bytes=100))
    expected = whole
    if size > 100:
        expected = f"{whole[:50]}\n[patchline: {size - 100} bytes cut here]\n{whole[-50:]}"
    assert done.output == expected


def test_a_secret_lying_on_the_cut_is_redacted_as_a_whole(tmp_path: Path) -> None:
    text = b"a" * 45 + b"SECRET-SECRET" + b"b" * 9000 + b"SECRET-SECRET" + b"c" * 45
    done = run(
        tmp_path,
        "cat",
        input=text,
        limits=Limits(output_bytes=100),
        redact=lambda found: found.replace("SECRET-SECRET", "[redacted]"),
    )
    assert "SEC" not in done.output
    assert "RET" not in done.output


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    done = run(tmp_path, "cat", input=b"a\0b\xff\xfec")
    assert done.output == "a\ufffdb\ufffd\ufffdc"


def test_the_resources_it_used_are_reported(tmp_path: Path) -> None:
    done = python(tmp_path, "x = bytearray(50_000_000); sum(range(3_000_000))")
    assert done.cpu_user_sec > 0.01
    assert 50_000_000 < done.max_rss_bytes < _peak_bytes() + 100_000_000
