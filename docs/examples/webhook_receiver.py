"""Takes Latchkey's webhooks, verifies their signatures and prints each event as a line of JSON.

    python docs/examples/webhook_receiver.py --register [PORT]
    WEBHOOK_SECRET=whsec_… python docs/examples/webhook_receiver.py [PORT]

With --register it makes a webhook endpoint for itself and deletes it at the end (ctrl-c). It never
prints the signing secret or the API key, and believes nothing that is not signed.
"""

import argparse
import json
import os
import queue
import sys
import threading
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import settings
from seen import Seen

try:
    from standardwebhooks import Webhook, WebhookVerificationError
except ImportError:
    settings.lacks("standardwebhooks")

LARGEST_BODY = 1024 * 1024
MOST_WAITING = 1000


class Receiver:
    def __init__(self, secret):
        self.webhook = Webhook(secret)
        self.seen = Seen()
        self.lock = threading.Lock()
        self.events = queue.Queue(MOST_WAITING)

    def receive(self, headers, body):
        """The status to answer with. It must come at once: the work is done by somebody else."""
        try:
            # The bytes as they came: JSON that was parsed and written again has another signature.
            event = self.webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError):
            return 401
        webhook_id = headers["webhook-id"]
        with self.lock:
            if webhook_id in self.seen:
                return 204
            try:
                # An application writes it down here, before it answers: after a 2xx nobody sends it again.
                self.events.put_nowait(event)
            except queue.Full:
                return 503
            self.seen.add(webhook_id)
        return 204

    def print_events(self):
        while True:
            print(json.dumps(self.events.get()), flush=True)


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdecimal():
            status = 411
        elif int(length) > LARGEST_BODY:
            status = 413
        else:
            status = self.server.receiver.receive(self.headers, self.rfile.read(int(length)))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


def call(method, path, body=None):
    """Latchkey's API."""
    request = urllib.request.Request(settings.read("LATCHKEY_URL") + path, method=method)
    request.add_header("authorization", f"Bearer {settings.read('LATCHKEY_API_KEY')}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
        request.add_header("idempotency-key", str(uuid.uuid4()))
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or "null")
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path} answered {error.code}: {error.read().decode()}")
    except urllib.error.URLError as error:
        sys.exit(f"{method} {path}: {error.reason}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--register", action="store_true")
    parser.add_argument("port", type=int, nargs="?", default=8787)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    url = f"http://127.0.0.1:{server.server_port}/"
    endpoint = None
    if arguments.register:
        # The secret is shown this once.
        endpoint = call("POST", "/v1/webhook-endpoints", {"url": url, "workspaceId": settings.read("LATCHKEY_WORKSPACE")})
    secret = endpoint["secret"] if endpoint else os.environ.get("WEBHOOK_SECRET")
    if not secret:
        sys.exit("set WEBHOOK_SECRET to the secret of your endpoint, or let --register make one")
    server.receiver = Receiver(secret)
    threading.Thread(target=server.receiver.print_events, daemon=True).start()
    print(f"listening on {url}", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        if endpoint:
            call("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")


if __name__ == "__main__":
    main()
