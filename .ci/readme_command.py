"""Print a command of README.md as it stands: the fenced block below ``<!-- command: NAME -->``.

Usage: readme_command.py NAME [README]
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^<!-- command: (?P<name>\w+) -->\n```\w*\n(?P<text>.*?)\n```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[tuple[str, str]]:
    """Return (name, command) of every marked block in a Markdown text, in order."""
    return [(match["name"], match["text"]) for match in BLOCK.finditer(text)]


def main(arguments: list[str]) -> int:
    """Print one command; exit status 2 where the README does not name it exactly once."""
    readme = Path(arguments[1]) if len(arguments) > 1 else Path(__file__).resolve().parents[1] / "README.md"
    known = commands(readme.read_text(encoding="utf-8"))
    found = [text for name, text in known if arguments[:1] == [name]]
    if len(found) != 1:
        names = ", ".join(name for name, _ in known)
        print(f"expected one command of {readme.name}, received {arguments}, known {names}", file=sys.stderr)
        return 2
    print(found[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
