"""Reads the images of a request into memory: never to disk, and within limits."""

import contextlib
import os
import typing
from collections.abc import AsyncGenerator, Sequence

import fastapi
from starlette import datastructures, formparsers, requests

FIELD = "images"
# Some such files have no preamble by which they would be known.
_DICOM_EXTENSIONS = (".dcm", ".dicom")
_ENDED_EARLY = "the request ended before its form was complete; send it again"


class Upload(typing.NamedTuple):
    """One image file."""

    name: str  # its place in the request: what users named it is not kept
    data: bytes


class Form(typing.NamedTuple):
    """What a request holds."""

    images: list[Upload]
    values: dict[str, list[str]]  # texts by the name of the field, in the order of the request


class _MemoryParser(formparsers.MultiPartParser):
    """Keeps files in memory, where Starlette's own writes those above 1 MB to temporary files."""

    spool_max_size = 2**62
    # As earlier releases of Starlette name it.
    max_file_size = 2**62
    is_complete = False

    def on_end(self) -> None:
        """Notes the last boundary, without which files may be missing."""
        self.is_complete = True


async def read_uploads(request: fastapi.Request, max_images: int, max_bytes: int, fields: Sequence[str] = ()) -> Form:
    """Reads the files of a multipart form, and its fields.

    Args:
        request: Request whose body was not read yet.
        max_images: Most files.
        max_bytes: Most bytes of the body.
        fields: Names of fields that may come with the files, each at most as often as there may be files.

    Returns:
        At least one file, in the order of the request, and the values of the fields.

    Raises:
        HTTPException: 400 for a malformed body, one that ends early or has too many files, 413 for one that is too
            large, 415 for another content type, 422 for no files.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise fastapi.HTTPException(415, f"expected multipart/form-data with files as {FIELD!r}")
    body = _limit(request, max_bytes)
    most = max_images * len(fields)
    parser = _MemoryParser(request.headers, body, max_files=max_images, max_fields=most)
    try:
        form = await parser.parse()
    except formparsers.MultiPartException as error:
        await drain(body)
        also = f" and of {', '.join(fields)}" if fields else ""
        raise fastapi.HTTPException(
            400, f"expected a form of files as {FIELD!r}{also} alone: {error.message}"
        ) from error
    except requests.ClientDisconnect as error:
        raise fastapi.HTTPException(400, _ENDED_EARLY) from error
    if not parser.is_complete:
        raise fastapi.HTTPException(400, _ENDED_EARLY)
    try:
        return await _read_form(form, fields)
    finally:
        await form.close()


async def drain(body: AsyncGenerator[bytes, None]) -> None:
    """Reads the rest of a body and drops it, since many clients read the answer only then.

    Args:
        body: Of a request, see `Request.stream`.
    """
    with contextlib.suppress(requests.ClientDisconnect):
        async for _ in body:
            pass


async def _limit(request: fastapi.Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yields the body; of one that is too large, the rest is dropped."""
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count <= max_bytes:
            yield chunk
    if count > max_bytes:
        raise fastapi.HTTPException(
            413,
            f"expected a request of at most {max_bytes >> 20} MB, got {count / 2**20:.1f} MB; send fewer images, or "
            "raise --max_upload_megabytes",
        )


async def _read_form(form: datastructures.FormData, fields: Sequence[str]) -> Form:
    files = [file for file in form.getlist(FIELD) if isinstance(file, datastructures.UploadFile)]
    values = {name: [text for text in form.getlist(name) if isinstance(text, str)] for name in fields}
    besides = f" besides {', '.join(fields)}" if fields else ""
    if not files or len(files) + sum(map(len, values.values())) < len(form.multi_items()):
        raise fastapi.HTTPException(
            422, f"expected at least one file as {FIELD!r}, and nothing else in the form{besides}"
        )
    found = []
    for number, file in enumerate(files, 1):
        extension = os.path.splitext(file.filename or "")[1].lower()
        known = extension if extension in _DICOM_EXTENSIONS else ""
        found.append(Upload(f"image {number}{known}", await file.read()))
    return Form(found, values)
