"""Builds the image of a Dockerfile, instruction by instruction, without a container engine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy import dockerfile
from deploy.containers import Container, Files
from deploy.dockerfile import Instruction, Stage

_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "group": "root:x:0:\n",
    "shadow": "root:*:20000:0:99999:7:::\n",
    "gshadow": "root:*::\n",
}
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass
class Image:
    """A stage as it was built: its files, and how its containers are run."""

    files: Files
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    workdir: str = "/"
    user: str = "0:0"

    def command(self, command: list[str], environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command that belongs to the image; its exit code and what it prints."""
        variables = {**self.environment, **(environment or {})}
        done = Container(self.files, variables, self.workdir, self.user).run(command)
        return done.returncode, done.stdout


def build(context: Path, directory: Path) -> Image:
    """The image of the last stage of the Dockerfile in `context`."""
    built: dict[str, Image] = {}
    for number, stage in enumerate(dockerfile.read(context / "Dockerfile")):
        built[stage.name or str(number)] = _build_stage(stage, context, directory / str(number), built)
    return list(built.values())[-1]


def open_image(context: Path, directory: Path) -> Image:
    """The image that another process has built in `directory`."""
    stages = dockerfile.read(context / "Dockerfile")
    image = Image(Files(directory / str(len(stages) - 1)))
    for instruction in stages[-1].instructions:
        if setting := _SETTINGS.get(instruction.keyword):
            setting(image, instruction)
    return image


def _build_stage(stage: Stage, context: Path, directory: Path, built: dict[str, Image]) -> Image:
    image = _base_image(directory)
    for instruction in stage.instructions:
        if instruction.keyword == "RUN":
            _run(image, instruction)
        elif instruction.keyword == "COPY":
            origin = built[instruction.flags["from"]].files.upper if "from" in instruction.flags else context
            ignored = _dockerignore(context) if origin == context else lambda _: False
            _copy(image, instruction, origin, ignored)
        elif setting := _SETTINGS.get(instruction.keyword):
            setting(image, instruction)
    return image


def _base_image(directory: Path) -> Image:
    """This machine without its accounts, and with its Python, open to all, under the name that it has in the real one."""
    image = Image(Files(directory))
    for name, text in _ACCOUNTS.items():
        image.files.write(f"/etc/{name}", text)
    interpreter = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}").resolve()
    image.files.write("/usr/local/bin/python", f'#!/bin/sh\nexec "{interpreter}" "$@"\n', 0o755)
    status, printed = image.command(["chmod", "o+x", *map(str, interpreter.parents)])
    assert status == 0, printed
    return image


def _run(image: Image, instruction: Instruction) -> None:
    # how packages are found is a matter of the machine, as it is with an engine (its proxy settings)
    from_outside = {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()
    }
    environment = {"HOME": str(Path.home()), **from_outside, **image.environment}
    status, printed = image.command(["/bin/sh", "-c", instruction.value], environment)
    assert status == 0, f"RUN {instruction.value}\n{printed}"


def _copy(image: Image, instruction: Instruction, origin: Path, ignored: Callable[[Path], bool]) -> None:
    *sources, target = instruction.words
    place = Path(image.workdir, target)
    destination = image.files.written(str(place))
    for source in (origin / name.lstrip("/") for name in sources):
        assert source.exists(), f"{instruction}: there is no {source}"
        assert not ignored(source.relative_to(origin)), f"{instruction}: .dockerignore hides {source}"
        if source.is_dir():

            def hidden(folder: str, names: list[str]) -> list[str]:
                return [name for name in names if ignored((Path(folder) / name).relative_to(origin))]

            image.files.make_directory(str(place))
            shutil.copytree(source, destination, symlinks=True, ignore=hidden, dirs_exist_ok=True)
        else:
            image.files.make_directory(str(place if target.endswith("/") else place.parent))
            shutil.copy2(source, destination)


def _dockerignore(context: Path) -> Callable[[Path], bool]:
    """Whether .dockerignore keeps a path out of the context: the last pattern that matches it or a parent counts."""
    lines = [line.strip() for line in (context / ".dockerignore").read_text().splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]

    def ignored(path: Path) -> bool:
        hidden = False
        for pattern in patterns:
            if any(_matches(part, pattern.removeprefix("!")) for part in (path, *path.parents)):
                hidden = not pattern.startswith("!")
        return hidden

    return ignored


def _matches(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.name, pattern[3:])
    parts, wanted = path.parts, pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _set_environment(image: Image, instruction: Instruction) -> None:
    for word in instruction.words:
        name, _, value = word.partition("=")
        image.environment[name] = _VARIABLE.sub(lambda found: image.environment.get(found[1], ""), value)


def _set_workdir(image: Image, instruction: Instruction) -> None:
    image.workdir = instruction.value
    image.files.make_directory(image.workdir)


def _set_user(image: Image, instruction: Instruction) -> None:
    image.user = instruction.value


_SETTINGS = {"ENV": _set_environment, "WORKDIR": _set_workdir, "USER": _set_user}
