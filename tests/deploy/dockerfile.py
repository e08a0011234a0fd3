"""Reads as much of a Dockerfile as ours uses, and refuses the rest. The reference: docs.docker.com/reference/dockerfile."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")
KEYWORDS = {
    "FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    keyword: str
    value: str
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The value's words; those of the JSON form as they stand."""
        if not self.value.startswith("["):
            return shlex.split(self.value)
        words = json.loads(self.value)
        assert all(isinstance(word, str) for word in words), self
        return list(words)


@dataclass(frozen=True)
class Stage:
    base: str
    name: str
    instructions: list[Instruction]

    def all(self, keyword: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.keyword == keyword]

    def last(self, keyword: str) -> Instruction:
        """The one that counts, of instructions that replace each other."""
        return self.all(keyword)[-1]


def read(path: Path) -> list[Stage]:
    """The stages, in order."""
    stages: list[Stage] = []
    for line in _logical_lines(path.read_text()):
        instruction = _instruction(line)
        if instruction.keyword == "FROM":
            base, *name = re.split(r"\s+AS\s+", instruction.value)
            stages.append(Stage(base, name[0] if name else "", []))
        else:
            stages[-1].instructions.append(instruction)
    return stages


def _logical_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [re.sub(r"\s+", " ", line) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def _instruction(line: str) -> Instruction:
    keyword, value = line.strip().split(" ", 1)
    assert keyword in KEYWORDS, f"nothing here knows how to do {line!r}"
    flags = {}
    while found := _FLAG.match(value):
        flags[found[1]] = found[2]
        value = value[found.end() :]
    if keyword == "HEALTHCHECK":
        assert value.startswith("CMD ")
        value = value.removeprefix("CMD ")
    return Instruction(keyword, value, flags)
