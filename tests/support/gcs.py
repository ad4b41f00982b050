"""A bucket that answers TensorFlow's own client for `gs://...`, on this machine and without the network.

The client speaks HTTPS to Google's addresses. It is led here by `https_proxy`: to a proxy that, asked for a tunnel,
answers itself, with a certificate that the client is told to trust. It is a process of its own, since the client keeps
Python's lock while it waits. An object is a file named by its quoted name.
"""

import contextlib
import http.server
import json
import pathlib
import re
import ssl
import subprocess
import sys
import threading
import urllib.parse

_HOSTS = ("www.googleapis.com", "storage.googleapis.com")


def make_certificate(folder):
    """Makes a certificate for Google's hosts and its key; gives their paths."""
    paths = [str(folder / name) for name in ("certificate.pem", "key.pem")]
    names = ",".join(f"DNS:{host}" for host in _HOSTS)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=bucket",
    ]
    command += ["-addext", f"subjectAltName={names}", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


class Bucket:
    """The objects of a folder, by `bucket/name`."""

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)

    def _path(self, name):
        return self._folder / urllib.parse.quote(name, safe="")

    def __iter__(self):
        return iter(sorted(urllib.parse.unquote(path.name) for path in self._folder.iterdir()))

    def __contains__(self, name):
        return self._path(name).exists()

    def __getitem__(self, name):
        return self._path(name).read_bytes()

    def __setitem__(self, name, content):
        self._path(name).write_bytes(content)

    def __delitem__(self, name):
        self._path(name).unlink()


@contextlib.contextmanager
def serving(folder, certificate, key):
    """Serves the objects of a folder; yields the proxy's address."""
    command = [sys.executable, __file__, str(folder), certificate, key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


def _serve(folder, certificate, key):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.context, server.objects, server.lock = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        Bucket(folder),
        threading.Lock(),
    )
    server.context.load_cert_chain(certificate, key)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        if self.path.partition(":")[0] not in _HOSTS:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()
        self.connection.close()

    def _read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self):
        body = self._read_body()
        url = urllib.parse.urlsplit(self.path)
        options = dict(urllib.parse.parse_qsl(url.query))
        with self.server.lock:
            code, headers, content = self._respond(url.path, options, body)
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _respond(self, path, options, body):
        """Gives the code, the headers and the content of an answer."""
        objects = self.server.objects
        if match := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
            name = f"{match[1]}/{options['name']}"
            if options["uploadType"] == "media":
                objects[name] = body
                return 200, {}, b"{}"
            return 200, {"Location": f"https://www.googleapis.com/session/{urllib.parse.quote(name, safe='')}"}, b""
        if match := re.fullmatch(r"/session/(.+)", path):
            objects[urllib.parse.unquote(match[1])] = body
            return 200, {}, b"{}"
        if match := re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)", path):
            source, target = (
                f"{bucket}/{urllib.parse.unquote(name)}" for bucket, name in (match.groups()[:2], match.groups()[2:])
            )
            objects[target] = objects[source]
            return 200, {}, b'{"done": true}'
        if match := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
            return 200, {}, json.dumps(_list(objects, match[1], options)).encode()
        if re.fullmatch(r"/storage/v1/b/([^/]+)", path):
            return 200, {}, b'{"location": "here"}'
        match = re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", path) or re.fullmatch(r"/([^/]+)/(.+)", path)
        name = f"{match[1]}/{urllib.parse.unquote(match[2])}"
        if name not in objects:
            return 404, {}, b""
        if self.command == "DELETE":
            del objects[name]
            return 204, {}, b""
        if path.startswith("/storage/v1/"):
            facts = {"size": str(len(objects[name])), "generation": "1", "updated": "2026-01-01T00:00:00.000Z"}
            return 200, {}, json.dumps(facts).encode()
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        part = objects[name][first : last + 1]
        return (206, {}, part) if part else (416, {}, b"")


def _list(objects, bucket, options):
    """Lists names under a prefix: all, or with a delimiter those of one level and the folders of others."""
    prefix, delimiter = options.get("prefix", ""), options.get("delimiter")
    names = sorted(name.removeprefix(f"{bucket}/") for name in objects if name.startswith(f"{bucket}/{prefix}"))
    rests = [name[len(prefix) :] for name in names]
    folders = {rest.partition("/")[0] + "/" for rest in rests if delimiter and "/" in rest}
    items = [{"name": prefix + rest} for rest in rests if not (delimiter and "/" in rest)]
    return {"items": items[: int(options.get("maxResults", 1000))], "prefixes": sorted(prefix + f for f in folders)}


if __name__ == "__main__":
    _serve(*sys.argv[1:])
