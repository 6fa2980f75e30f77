"""What schemathesis cannot know: which ids exist, and that another tenant's must not answer."""

import json
import os
import random

import schemathesis

IDS = json.loads(os.environ["CHECK_API_IDS"])
KEYED = bool(os.environ["CHECK_API_KEYED"])

# Which of the known things a parameter or field of this name may name.
KINDS = {
    "ws": "workspace",
    "workspaceId": "workspace",
    "projectId": "workspace",
    "acc": "account",
    "accountId": "account",
    "con": "connect",
    "prof": "profile",
    "profileId": "profile",
    "app": "app",
    "appId": "app",
    "whe": "endpoint",
}
RANDOM = random.Random(1)


def known(name, path, method):
    """An id of ours, of theirs, or none: then whatever was made up stays."""
    kind = KINDS.get(name)
    if name == "id":
        kind = "api_key" if "api-keys" in path else "app"
    if kind is None:
        return None
    if kind == "workspace" and method == "DELETE" and path.endswith("{ws}"):
        kind = "spare_workspace"
    whose = RANDOM.choices(["ours", "theirs", None], [6, 2, 2])[0]
    return whose and IDS[whose][kind]


def fill(context, values):
    operation = context.operation
    if isinstance(values, dict):
        for name in list(values):
            if isinstance(values[name], str):
                values[name] = known(name, operation.path, operation.method.upper()) or values[name]
    return values


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return fill(context, path_parameters)


@schemathesis.hook
def map_query(context, query):
    return fill(context, query)


@schemathesis.hook
def map_body(context, body):
    return fill(context, body)


def names_a_key(operation):
    security = operation.definition.raw.get("security", operation.schema.raw_schema.get("security"))
    return any(requirement for requirement in security or [])


@schemathesis.check
def others_stay_theirs(ctx, response, case):
    """A request that names something of the other tenant changes and shows nothing."""
    if not names_a_key(case.operation):
        return
    body = case.body if isinstance(case.body, (dict, str)) else None
    # A list that is filtered by a thing that is not there is empty.
    filters = None if case.method == "GET" else case.query
    named = json.dumps([case.path_parameters, filters, body], default=str)
    theirs = [id for id in IDS["theirs"].values() if id in named]
    if theirs:
        assert not 200 <= response.status_code < 400, f"{theirs} answered {response.status_code}"
    told = [id for id in IDS["theirs"].values() if response.status_code < 400 and id in response.text]
    assert not told, f"told of {told}"


@schemathesis.check
def no_other_statuses(ctx, response, case):
    """A document of somebody else's may leave out what any careful service answers, and no more."""
    promised = {str(status) for status in case.operation.definition.raw["responses"]}
    careful = {"401", "403", "404", "405", "413", "415", "429"}
    if not promised & {"400", "422"}:
        careful |= {"400", "422"}
    assert str(response.status_code) in promised | careful, f"answered {response.status_code}"


@schemathesis.check
def without_a_key_nothing(ctx, response, case):
    """Where a key is needed and none is sent, nothing is told but that."""
    if not KEYED and names_a_key(case.operation):
        assert response.status_code in (401, 405), f"answered {response.status_code} without a key"
