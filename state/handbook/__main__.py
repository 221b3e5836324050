"""Write the generated pages: `python -m state.handbook [FOLDER]`, by default `docs`."""

import sys
from pathlib import Path

from state.handbook.pages import generated_pages


def main(folder: Path) -> None:
    """Write every page into a folder."""
    for name, content in generated_pages().items():
        (folder / name).write_text(content, encoding="utf-8")


main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
