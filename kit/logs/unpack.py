"""Packed streams → plain bytes, little by little: gzip, xz, bzip2 and zstd, of one member or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

STEP: Final = 1 << 14
"""Bytes unpacked at once: what a damaged place takes with it of the sound bytes before it."""
_MEMORY: Final = 1 << 27
"""Bytes that an xz file may want: twice what its highest level does. zstd's own limit is the same."""
_ZSTD_INPUT: Final = 512
"""Bytes of which zstd can make no more than 16 MB."""


class Unpacker(Protocol):
    """One member of a packed stream, as `bz2` and `lzma` have it."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing comes of it without more input."""

    @property
    def unused_data(self) -> bytes:
        """What stood behind the member."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """The next plain bytes."""


Start = Callable[[], Unpacker]


class PackingError(Exception):
    """The packed stream ends too early, or is damaged: in words, for who reads the log."""


def packing_of(head: bytes) -> str | None:
    """What a stream that begins so is packed with; None where it is plain."""
    return next((name for name, (magics, _) in _PACKINGS.items() if head.startswith(magics)), None)


def unpack(packing: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The plain bytes in small pieces; memory is bounded however well they were packed.

    Raises:
        PackingError: after all pieces that could be had.
    """
    magics, (start, error) = _PACKINGS[packing][0], _PACKINGS[packing][1]()
    member, unpacked = start(), 0
    while True:
        data = b""
        if member.eof:
            data = member.unused_data
            while not (data := data.lstrip(b"\0")):  # some writers pad with zeros
                if not (data := next(chunks, b"")):
                    return
            while len(data) < len(magics[0]) and (more := next(chunks, b"")):
                data += more
            if not any(data.startswith(magic) or magic.startswith(data) for magic in magics):
                raise PackingError(f"behind the {packing} data stands something else, which was not read")
            member = start()
        elif member.needs_input and not (data := next(chunks, b"")):
            raise PackingError(f"the {packing} file is cut short; {unpacked:,} bytes of text before the cut could be unpacked")
        try:
            plain = member.decompress(data, STEP)
        except error as fault:
            had = f"{unpacked:,} bytes of text before it could be unpacked"
            raise PackingError(f"the {packing} data is damaged ({str(fault)[:100]}); {had}") from fault
        if plain:
            unpacked += len(plain)
            yield plain


# ------------------------------------------------------------------------------------------------ each loads when it is met


def _gzip() -> tuple[Start, type[Exception]]:
    from isal import igzip_lib  # noqa: PLC0415

    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), igzip_lib.IsalError  # type: ignore[return-value]  # its stub calls it an instance


def _xz() -> tuple[Start, type[Exception]]:
    import lzma  # noqa: PLC0415

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY), lzma.LZMAError


def _bzip2() -> tuple[Start, type[Exception]]:
    import bz2  # noqa: PLC0415

    return bz2.BZ2Decompressor, OSError


def _zstd() -> tuple[Start, type[Exception]]:
    import zstandard  # noqa: PLC0415

    return lambda: _Zstd(zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError


class _Zstd:
    """zstandard hands out all that comes of its input at once, so it gets little."""

    def __init__(self, member: Any) -> None:
        self._member = member
        self._input = memoryview(b"")

    @property
    def eof(self) -> bool:
        return bool(self._member.eof)

    @property
    def needs_input(self) -> bool:
        return not self._input

    @property
    def unused_data(self) -> bytes:
        return bytes(self._member.unused_data) + bytes(self._input)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._input = memoryview(data)
        piece, self._input = self._input[:_ZSTD_INPUT], self._input[_ZSTD_INPUT:]
        return bytes(self._member.decompress(piece))


# By what it is called: how its streams begin. zstd has sixteen frames that programs skip; pzstd begins with one.
_PACKINGS: Final[dict[str, tuple[tuple[bytes, ...], Callable[[], tuple[Start, type[Exception]]]]]] = {
    "gzip": ((b"\x1f\x8b",), _gzip),
    "xz": ((b"\xfd7zXZ\0",), _xz),
    "bzip2": ((b"BZh",), _bzip2),
    "zstd": ((b"\x28\xb5\x2f\xfd", *(bytes((kind, 0x2A, 0x4D, 0x18)) for kind in range(0x50, 0x60))), _zstd),
}
