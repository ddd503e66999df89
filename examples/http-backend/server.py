"""An ordinary HTTP server behind a WebSocket API: Python's standard library only.

The answer to /message goes back to the sender (the route is two-way); everybody
else gets the message by a signed POST to {CALLBACK_URL}/@connections/{id}.
"""
import datetime, hashlib, hmac, os, urllib.error, urllib.parse, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALLBACK_URL = os.environ.get("CALLBACK_URL", "http://localhost:3001/Prod")
REGION = os.environ.get("AWS_REGION", "us-east-1")
KEY_ID = os.environ.get("AWS_ACCESS_KEY_ID", "AKIALOCALLOCALLOCAL0")
SECRET = os.environ.get("AWS_SECRET_ACCESS_KEY", "local")
connected = set()


def post_to_connection(connection_id, data):
    url = urllib.parse.urlsplit(f"{CALLBACK_URL}/@connections/{urllib.parse.quote(connection_id, safe='')}")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{REGION}/execute-api/aws4_request"
    # Signature Version 4: the path is percent-encoded once more for the signature.
    request = "\n".join(["POST", urllib.parse.quote(url.path), "", f"host:{url.netloc}", f"x-amz-date:{now}",
                         "", "host;x-amz-date", hashlib.sha256(data).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    urllib.request.urlopen(urllib.request.Request(url.geturl(), data, {
        "X-Amz-Date": now, "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"}), timeout=5)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        me = self.headers["connectionId"]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = b""
        if self.path == "/connect":
            connected.add(me)
        elif self.path == "/disconnect":
            connected.discard(me)
        else:
            answer = b"you said: " + body
            for other in connected - {me}:
                try:
                    post_to_connection(other, b"somebody said: " + body)
                except urllib.error.HTTPError as err:
                    if err.code != 410:  # 410: it has just gone
                        raise
                    connected.discard(other)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
