import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from isic_tf.server import uploads

KIND = "multipart/form-data; boundary=b"


def make_body(*files, field="images"):
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + b"--b--\r\n"


def read(body, max_images=3, max_bytes=1 << 20, chunk=7, disconnects=False, kind=KIND, fields=()):
    """Reads a body that arrives in small chunks; returns the uploads and what was left of the body."""
    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)]
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in chunks]
    messages.append({"type": "http.disconnect"} if disconnects else {"type": "http.request", "more_body": False})

    async def receive():
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    try:
        return asyncio.run(uploads.read_uploads(Request(scope, receive), max_images, max_bytes, fields)), messages
    except HTTPException as error:
        return error, messages


def test_files_keep_their_order_and_lose_their_names():
    found, left = read(make_body(("Erika.jpg", b"one"), ("b.DCM", b"\r\ntwo"), ("", b"")))
    assert found.images == [("image 1", b"one"), ("image 2.dcm", b"\r\ntwo"), ("image 3", b"")]
    assert found.values == {}
    assert left == []


@pytest.mark.parametrize(
    ("body", "options", "status", "text"),
    [
        (make_body(*[("a", b"x")] * 4), {}, 400, "Too many files. Maximum number of files is 3."),
        (make_body(("a", bytes(2 << 20))), {"chunk": 1 << 16}, 413, "at most 1 MB, got 2.0 MB"),
        (make_body(("a", b"x"), field="other"), {}, 422, "expected at least one file as 'images'"),
        (b"nothing of a form, but long", {}, 400, "expected a form of files"),
        (make_body(("a", b"x"))[:60], {"disconnects": True}, 400, "ended before its form was complete"),
        (b"", {"kind": "application/json"}, 415, "expected multipart/form-data"),
    ],
)
def test_what_cannot_be_read_is_refused_after_its_end(body, options, status, text):
    error, left = read(body, **options)
    assert error.status_code == status
    assert text in error.detail
    # A client that has sent all reads the answer.
    assert left == [] or status == 415


def test_a_form_that_is_cut_off_is_refused_instead_of_judged_in_part():
    body = make_body(("a", b"x" * 100), ("b", b"y" * 100))
    for length in (len(body) - 10, len(body) - 60, 180):
        error, _ = read(body[:length])
        assert error.status_code == 400
        assert "before its form was complete" in error.detail


def make_field(name, text):
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()


def test_fields_keep_the_order_of_their_values():
    body = make_field("sex", "female") + make_field("age", "40") + make_field("sex", "") + make_body(("a", b"x"))
    found, _ = read(body, fields=("age", "sex", "site"))
    assert found.values == {"age": ["40"], "sex": ["female", ""], "site": []}
    assert found.images == [("image 1", b"x")]


@pytest.mark.parametrize(
    ("body", "fields", "status", "text"),
    [
        (make_field("sex", "male"), (), 400, "a form of files as 'images' alone: Too many fields"),
        (make_field("age", "40"), ("sex",), 422, "as 'images', and nothing else in the form besides sex"),
        (make_field("sex", "male") * 4, ("sex",), 400, "Too many fields. Maximum number of fields is 3."),
        (
            make_field("images", "text"),
            ("sex",),
            422,
            "at least one file as 'images', and nothing else in the form besides sex",
        ),
    ],
)
def test_other_fields_and_too_many_values_are_refused(body, fields, status, text):
    error, _ = read(body + make_body(("a", b"x")), fields=fields)
    assert error.status_code == status
    assert text in error.detail


def test_a_file_is_no_value_of_a_field():
    error, _ = read(make_body(("a", b"x"), field="sex")[:-7] + make_body(("a", b"x")), fields=("sex",))
    assert error.status_code == 422
