"""The routes that do something: POST, with JSON. Each writes one line to the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lispmsrt.config import ConfigError, MappingConfig
from lispmsrt.config.values import EidPrefixText, InstanceId
from lispmsrt.services.etr import RegistrationRejected
from lispmsrt.services.operations import (
    NoSuchMappingError,
    NoSuchSessionError,
    NotConfiguredError,
    NothingToReloadError,
    NotThisRoleError,
    Operations,
    RefreshRequest,
    TooManyError,
    UnregistrableError,
)
from lispmsrt.web.declarations import API, Asked, Route
from lispmsrt.web.errors import ApiError
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["action_routes"]

_log = Logger()

_MAX_TEXT = 300

_ERRORS = {
    404: "what it is about is not there, or this process does not have the role",
    409: "it can't be done: the configuration is wrong, or a Map-Server refuses",
    413: "the body is too long",
    415: "the body is not application/json",
    503: "too many actions wait for Map-Servers",
}

Text = Annotated[str, Field(min_length=1, max_length=_MAX_TEXT)]


class _Body(BaseModel):
    """What is sent: nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ClearSession(_Body):
    """Which sessions are closed."""

    session: Text
    "its id, its peer's address:port, or the address: all sessions from there"


class Refresh(_Body):
    """Who is asked to register again."""

    scope: Literal["everything", "site", "instance", "eid"] = "everything"
    site: Text | None = None
    instance_id: InstanceId | None = None
    eid_prefix: EidPrefixText | None = None
    rejected_only: Annotated[bool, Field(strict=True)] = False


class Reload(_Body):
    """Nothing needs to be said."""


class Withdraw(_Body):
    """Which mapping is withdrawn."""

    eid_prefix: EidPrefixText
    instance_id: InstanceId = 0


@dataclass(frozen=True, slots=True)
class Cleared:
    """Sessions that were closed."""

    cleared: int


@dataclass(frozen=True, slots=True)
class RefreshAsked:
    """Sessions that were asked."""

    asked: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration was read again."""

    reloaded: bool
    what: str
    "what was reloaded, in words"


@dataclass(frozen=True, slots=True)
class Registered:
    """A mapping that is registered from now on."""

    registered: str
    acknowledged: bool
    "whether every Map-Server has acknowledged it; else the ETR goes on trying"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A mapping that is not registered any more."""

    withdrawn: str
    acknowledged: bool
    "whether every Map-Server has acknowledged that; else the ETR goes on trying"


def action_routes(operations: Operations) -> tuple[Route, ...]:
    """Declare everything that does something."""
    actions = _Actions(operations)
    return (
        _route("clear-session", "Close sessions", ClearSession, Cleared, actions.clear_session),
        _route("refresh", "Have ETRs register again", Refresh, RefreshAsked, actions.refresh),
        _route("reload", "Read the configuration again", Reload, Reloaded, actions.reload),
        _route("register", "Register a mapping", MappingConfig, Registered, actions.register),
        _route("withdraw", "Withdraw a mapping", Withdraw, Withdrawn, actions.withdraw),
    )


def _route(name: str, summary: str, body: Any, result: Any, act: Callable[[Any], _Action]) -> Route:
    def answer(asked: Asked) -> Deferred[object]:
        action = act(asked.body)
        return _answer(asked.request.who, action)

    path = f"{API}/actions/{name}"
    return Route("POST", path, name, summary, result, answer, body=body, errors=_ERRORS)


@dataclass(frozen=True, slots=True)
class _Action:
    """Something that is about to be done."""

    what: str
    "for the log"
    act: Callable[[], Any]
    "returns what came of it, or a Deferred"
    result: Callable[[Any], object]
    "makes the answer of it"


class _Actions:
    """What each body asks for."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def clear_session(self, body: ClearSession) -> _Action:
        """Close sessions."""
        return _Action(
            f"clear session {body.session}",
            lambda: self._operations.clear_sessions(body.session),
            Cleared,
        )

    def refresh(self, body: Refresh) -> _Action:
        """Ask ETRs to register again."""
        said = body.model_dump(exclude_none=True, exclude_defaults=True)
        return _Action(
            " ".join(["refresh", *(f"{name}={value}" for name, value in said.items())]),
            lambda: self._operations.refresh(_refresh_request(body)),
            RefreshAsked,
        )

    def reload(self, body: Reload) -> _Action:
        """Read the configuration again."""
        return _Action("reload", self._operations.reload, lambda what: Reloaded(True, what))

    def register(self, body: MappingConfig) -> _Action:
        """Register a mapping."""
        eid = str(body.eid())
        return _Action(
            f"register {eid}",
            lambda: self._operations.register(body),
            lambda acknowledged: Registered(eid, acknowledged),
        )

    def withdraw(self, body: Withdraw) -> _Action:
        """Withdraw a mapping."""
        eid = EidPrefix.from_text(body.eid_prefix, body.instance_id)
        return _Action(
            f"withdraw {eid}",
            lambda: self._operations.withdraw(eid),
            lambda acknowledged: Withdrawn(str(eid), acknowledged),
        )


def _refresh_request(body: Refresh) -> RefreshRequest:
    """Return what is asked for; ApiError says what does not fit."""
    try:
        return RefreshRequest(**body.model_dump())
    except ValueError as failure:
        raise ApiError(400, str(failure)) from None


def _answer(who: str, action: _Action) -> Deferred[object]:
    """Do it, log it, and fire with the answer."""
    # Not one chain: who hangs up does not cancel what has begun.
    answer: Deferred[object] = Deferred(lambda _: None)
    what = _printable(action.what)

    def done(outcome: Any) -> None:
        said: object = outcome
        if not isinstance(outcome, Failure):
            said = action.result(outcome)
            _log.info("management: {who}: {what}", who=who, what=what)
        elif (refusal := _refusal(outcome.value)) is not None:
            said = Failure(refusal)
            _log.warn(
                "management: {who}: {what}: refused: {reason}",
                who=who,
                what=what,
                reason=_printable(refusal.sentence),
            )
        if not answer.called:
            answer.callback(said)
        elif isinstance(said, Failure) and not said.check(ApiError):
            _log.failure("management: {who}: {what}: failed", said, who=who, what=what)

    maybeDeferred(action.act).addBoth(done)
    return answer


def _printable(text: str) -> str:
    """What a client says must not look like lines of its own in the log."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _refusal(failure: BaseException | None) -> ApiError | None:
    """Return what a failed action is answered with; None for a bug."""
    match failure:
        case ConfigError():
            return ApiError(409, "; ".join(failure.mistakes))
        case RegistrationRejected() | NothingToReloadError():
            return ApiError(409, str(failure))
        case NotThisRoleError() | NotConfiguredError():
            return ApiError(404, str(failure))
        case NoSuchSessionError(args=(str(sentence),)) | NoSuchMappingError(args=(str(sentence),)):
            return ApiError(404, sentence)
        case TooManyError():
            return ApiError(503, str(failure))
        case UnregistrableError():
            return ApiError(400, str(failure))
        case ApiError():
            return failure
    return None
