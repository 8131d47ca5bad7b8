"""Every Python block of the README runs, and prints what its comments say."""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_of_the_readme_prints_what_it_says(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    printed = [
        " ".join(x.split()) for x in capsys.readouterr().out.replace("]\n", "] ").split("\n")
    ]
    promised = re.findall(r"print\(.*\)\s+# ([^:\n]*)", block)
    assert [x.replace("\n", " ") for x in printed if x] == [x.strip() for x in promised]


def test_the_readme_has_blocks_that_promise_something():
    assert sum("print(" in b for b in BLOCKS) >= 2
