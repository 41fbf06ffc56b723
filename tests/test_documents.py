"""README and docs: every Python block runs on its own and prints what the page says, every command
is one that the command line understands, every link leads somewhere."""

import re
import shlex

import pytest

from schmidt.cli import COMMANDS, parsed
from support.documents import LINKS, ROOT, Block, blocks, differences, pages, run

BLOCKS = [block for page in pages() for block in blocks(page)]
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands() -> list[str]:
    lines = [
        line.split("  #")[0]
        for page in pages()
        for text in SHELL.findall(page.read_text())
        for line in text.replace("\\\n", " ").splitlines()
    ]
    return sorted({line[line.index("schmidt ") :].strip() for line in lines if "schmidt " in line})


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_prints_what_the_page_says(block: Block) -> None:
    printed = run(block.code)
    assert printed.strip(), "prints nothing"
    assert not differences(block.printed, printed)


@pytest.mark.parametrize("command", commands())
def test_command_is_understood(command: str) -> None:
    name, *rest = shlex.split(re.split(r"\s[|>]", command)[0])[1:]
    if not name.startswith("-"):
        assert name in COMMANDS
        parsed(name, rest)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_links_lead_somewhere(page) -> None:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    here = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
    for link in LINKS.findall(page.read_text()):
        if link.startswith("#"):
            assert link[1:] in here, link
        elif not link.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / link.split("#")[0]).exists(), link


def test_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


def test_the_operator_is_ten_lines() -> None:
    (code,) = [b.code for b in blocks(ROOT / "README.md") if "class OrnsteinUhlenbeck" in b.code]
    lines = code[code.index("class ") : code.index("network =")].splitlines()
    assert len([line for line in lines if line.strip()]) <= 10


def test_outputs_are_compared() -> None:
    assert not differences("rank 3: met\n[0.80 0.63]\n", "rank 3: met\n[0.8 0.631]")
    assert not differences("± 2.4e-09", "± 8.0e-08")
    assert differences("rank 3: met", "rank 4: met")
    assert differences("met", "not met")
    assert differences("[0.80 0.63]", "[0.80 0.70]")
    assert differences("-1.0", "1.0")
