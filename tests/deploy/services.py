"""Runs a service of docker-compose.yml in a container of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.containers import Container
from deploy.images import Image


def container(
    image: Image, service: Mapping[str, Any], top: Path, directory: Path, variables: Mapping[str, str]
) -> Container:
    """The container of a service whose compose file is in `top`. Its volumes are kept in `directory`.

    `variables`: what is different because the container shares this machine's network.
    """
    files = image.files.copy(directory / "files")
    files.write("/etc/hosts", "127.0.0.1 localhost database\n")
    mounts = {}
    for volume in service["volumes"]:
        source, target = volume.split(":")[:2]
        mounts[target] = (top / source).resolve() if source.startswith(".") else _volume(directory / source, image)
    assert service["cap_drop"] == ["ALL"]  # as a Container has it
    assert service["security_opt"] == ["no-new-privileges:true"]
    return Container(
        files,
        {**image.environment, **service["environment"], **variables},
        image.workdir,
        image.user,
        read_only=service["read_only"],
        tmpfs=service["tmpfs"],
        mounts=mounts,
    )


def _volume(directory: Path, image: Image) -> Path:
    """A volume as an engine makes it: with the owner and the mode of the image's directory, which test_image.py looks at."""
    directory.mkdir(mode=0o700, exist_ok=True)
    uid, _, gid = image.user.partition(":")
    os.chown(directory, int(uid), int(gid))
    return directory
