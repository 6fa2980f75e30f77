"""Makes two tenants with one of everything, and has schemathesis call the API by its documents."""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
URL = os.environ["LATCHKEY_URL"]

# Where each document is, and the header that its product's clients send their key in.
DOCUMENTS = {
    "native": ("/openapi.json", "Authorization: Bearer {key}"),
    "postbreeze": ("/compat/postbreeze/openapi.json", "Authorization: Bearer {key}"),
    "postato": ("/compat/postato/openapi.json", "Authorization: Bearer {key}"),
    "postpeer": ("/compat/postpeer/openapi.json", "x-access-key: {key}"),
    "woopsocial": ("/compat/woopsocial/openapi.json", "Authorization: Bearer {key}"),
    "ocoya": ("/compat/ocoya/openapi.json", "X-API-Key: {key}"),
}

# What a document promises. Not among them: that whatever fits a schema is accepted (a schema cannot say
# that an id exists or that a URL is on a list), and rate limits, which are switched off here.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
    "others_stay_theirs",
    "without_a_key_nothing",
]

# What somebody else's document can be held to: it does not know all that we refuse.
PUBLISHED_CHECKS = [
    "not_a_server_error",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "no_other_statuses",
    "others_stay_theirs",
]


class Tenant:
    """An organisation, called as its owner."""

    def __init__(self, key):
        self.key = key

    def call(self, method, path, body=None):
        request = urllib.request.Request(URL + path, method=method)
        request.add_header("authorization", f"Bearer {self.key}")
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def make_things(self):
        """Ids by the names that paths, queries and bodies give them."""
        ws, spare = (self.call("POST", "/v1/workspaces", {"name": name})["id"] for name in ("Checked", "Spare"))
        at = f"/v1/workspaces/{ws}"
        limited = self.call("POST", "/v1/api-keys", {"name": "limited", "role": "owner", "workspaceId": ws})
        spare_key = self.call("POST", "/v1/api-keys", {"name": "spare", "role": "viewer"})["id"]
        profile = self.call("POST", f"{at}/profiles", {"name": "Ann"})["id"]
        app = {"platform": "X", "name": "App", "clientId": "latchkey-sandbox-client", "clientSecret": "s"}
        app = self.call("POST", "/v1/apps", app)["id"]
        endpoint = {"url": "http://127.0.0.1:9/hook"}
        endpoint = self.call("POST", "/v1/webhook-endpoints", endpoint)["id"]
        account = self.connect(at)
        open_connect = self.call("POST", f"{at}/connects", {"platform": "SANDBOX"})["connectId"]
        self.limited_key = limited["key"]
        return {
            "workspace": ws,
            "spare_workspace": spare,
            "account": account,
            "connect": open_connect,
            "profile": profile,
            "app": app,
            "endpoint": endpoint,
            "api_key": spare_key,
        }

    def connect(self, at):
        """One account, as a person at the sandbox's consent page connects it."""
        started = self.call("POST", f"{at}/connects", {"platform": "SANDBOX"})
        authorize = urllib.parse.urlsplit(started["authorizeUrl"])
        form = dict(urllib.parse.parse_qsl(authorize.query), user="checker", decision="approve")
        action = authorize._replace(query="").geturl()
        data = urllib.parse.urlencode(form).encode()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        browser.open(action, data=data).read()
        for _ in range(100):
            connect = self.call("GET", f"{at}/connects/{started['connectId']}")
            if connect["accountIds"]:
                return connect["accountIds"][0]
            time.sleep(0.1)
        sys.exit(f"the account was not connected: {connect}")


def run(name, document, header, key, args, ids):
    """One run; answers whether all checks held."""
    command = [str(Path(sys.executable).parent / "st"), "run", document, "--url", args.urls[name]]
    command += ["--checks", ",".join(PUBLISHED_CHECKS if args.against else CHECKS)]
    command += ["--max-examples", str(args.examples), "--seed", "1", "--continue-on-failure"]
    command += ["--phases", "examples,coverage,fuzzing", "--warnings", "off", "--no-color"]
    command += ["--suppress-health-check", "all", "--request-timeout", "30"]
    if key:
        command += ["--header", header.format(key=key)]
    what = f"{name}, {'with' if key else 'without'} a key"
    environment = dict(
        os.environ,
        PYTHONPATH=str(HERE),
        SCHEMATHESIS_HOOKS="check_api_hooks",
        CHECK_API_IDS=json.dumps(ids),
        CHECK_API_KEYED="yes" if key else "",
    )
    log = Path(args.logs) / f"check-api-{name}{'' if key else '-no-key'}.log"
    begun = time.monotonic()
    with log.open("w") as out:
        # It keeps notes where it runs.
        done = subprocess.run(command, env=environment, cwd=args.logs, stdout=out, stderr=subprocess.STDOUT)
    cases = [line.strip() for line in log.read_text().splitlines() if " generated" in line]
    told = f"{what}: {cases[-1] if cases else 'no cases'} in {time.monotonic() - begun:.0f} s"
    print(("✓ " if done.returncode == 0 else "✗ ") + told, flush=True)
    if done.returncode != 0:
        print(log.read_text()[-12000:])
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--others", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--only", choices=DOCUMENTS)
    parser.add_argument("--against")
    args = parser.parse_args()
    ours = Tenant(os.environ["LATCHKEY_API_KEY"])
    theirs = Tenant(json.loads(Path(args.others).read_text())["apiKey"])
    ids = {"ours": ours.make_things(), "theirs": theirs.make_things()}
    good = True
    args.urls = {}
    for name, (path, header) in DOCUMENTS.items():
        if args.only and args.only != name:
            continue
        document = args.against or URL + path
        served = json.loads(urllib.request.urlopen(URL + path).read())
        base = served.get("servers", [{"url": "/"}])[0]["url"]
        args.urls[name] = urllib.parse.urljoin(URL, base)
        key = ours.key if name == "native" else ours.limited_key
        good &= run(name, document, header, key, args, ids)
        if not args.against:
            good &= run(name, document, header, None, args, ids)
    sys.exit(0 if good else 1)


main()
