"""Content digests: SHA-256 over canonical JSON, files and folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def digest_text(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of a JSON value, independent of key order and spacing."""
    return digest_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str))


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_tree(path: Path) -> str:
    """Return a digest of a file, or of every file below a folder with its relative name."""
    if path.is_file():
        return digest_file(path)
    files = sorted(item for item in path.rglob("*") if item.is_file())
    return digest_json([[item.relative_to(path).as_posix(), digest_file(item)] for item in files])
