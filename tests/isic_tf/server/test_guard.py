import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from isic_tf.server.guard import Guard
from isic_tf.server.metrics import Metrics

TOKEN = "a-token-of-16-or-more"


async def answer(scope, receive, send):
    await PlainTextResponse("inside", headers={"cache-control": "max-age=5"})(scope, receive, send)


def ask(path, method="GET", token="", hosts=(), host="http://localhost:8000", **options):
    metrics = Metrics()
    client = TestClient(Guard(answer, token, hosts, metrics), host)
    return client.request(method, path, **options), metrics.format(passes=0)


@pytest.mark.parametrize("path", ["/run", "/judge", "/metrics", "/openapi.json", "/nowhere"])
@pytest.mark.parametrize("sent", [None, "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"])
def test_without_the_token_nothing_is_answered(path, sent):
    headers = {} if sent is None else {"authorization": sent.encode()}
    found, metrics = ask(path, token=TOKEN, headers=headers)
    assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
    assert "expected the server's token" in found.json()["detail"]
    assert TOKEN not in found.text
    assert f'path="{"other" if path == "/nowhere" else path}",status="401"}} 1' in metrics


@pytest.mark.parametrize("path", ["/run", "/judge"])
def test_with_the_token_requests_are_passed_on(path):
    assert ask(path, token=TOKEN, headers={"authorization": f"Bearer {TOKEN}"})[0].text == "inside"


@pytest.mark.parametrize("path", ["/", "/health", "/static/page.js"])
def test_what_holds_nothing_of_a_patient_needs_no_token(path):
    assert ask(path, token=TOKEN)[0].text == "inside"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("http://localhost:8000", 200),
        ("http://LOCALHOST", 200),
        ("http://[::1]:8000", 200),
        ("http://evil.example:8000", 400),
        ("http://localhost.evil.example", 400),
    ],
)
def test_other_names_of_this_machine_are_refused(host, status):
    found, _ = ask("/run", hosts=("localhost", "127.0.0.1", "[::1]"), host=host)
    assert found.status_code == status
    assert status == 200 or "expected a request to localhost or 127.0.0.1" in found.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8001"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_keep_the_server_busy(headers, status):
    assert ask("/judge", "POST", hosts=("localhost",), headers=headers)[0].status_code == status
    # A link on another page to this one is followed; and who knows the token may ask from anywhere.
    assert ask("/", hosts=("localhost",), headers={"sec-fetch-site": "cross-site"})[0].status_code == 200
    own = {**headers, "authorization": f"bearer {TOKEN}"}
    assert ask("/judge", "POST", token=TOKEN, headers=own)[0].status_code == 200


def test_requests_without_images_are_small_and_say_how_long_they_are():
    assert ask("/calibrate", "POST", content=bytes(100_000))[0].status_code == 200
    assert ask("/calibrate", "POST", content=bytes(100_001))[0].status_code == 413
    assert ask("/calibrate", "POST", content=iter([b"x"]))[0].status_code == 411
    assert ask("/calibrate", "POST", headers={"content-length": "-1"})[0].status_code == 413
    assert ask("/judge", "POST", content=iter([bytes(200_000)]))[0].status_code == 200


@pytest.mark.parametrize(("token", "status"), [("", 200), (TOKEN, 401)])
def test_every_answer_has_the_headers(token, status):
    found, _ = ask("/run", token=token)
    assert found.status_code == status
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == ("max-age=5" if status == 200 else "no-store")


def test_a_failure_inside_is_counted():
    async def fail(*_):
        raise RuntimeError

    metrics = Metrics()
    client = TestClient(Guard(fail, "", (), metrics), raise_server_exceptions=False)
    client.get("/run")
    assert 'path="/run",status="500"} 1' in metrics.format(passes=0)
