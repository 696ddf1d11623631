"""`show sessions` and `show session PEER`, like ``show lisp session`` of other systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lispmsrt.cli.api_client import ApiError, path_of
from lispmsrt.cli.blocks import Block, Cell, Column, Facts, Line, Table, Text, Tone
from lispmsrt.cli.durations import milliseconds
from lispmsrt.cli.show_options import SINCE, SITE, TRANSPORT, Option
from lispmsrt.cli.show_rows import hex_words, left_out, state_cell
from lispmsrt.cli.show_view import Look, View
from lispmsrt.views.values.etr import EtrView
from lispmsrt.views.values.sessions import SessionView
from lispmsrt.views.values.system import OverviewView

__all__ = ["SESSION", "SESSIONS", "session_blocks"]

_STATE = Option(
    "state",
    "in this state",
    parameter="established",
    choices=("established", "starting"),
    translation={"established": "true", "starting": "false"},
)
_TROUBLED = Option(
    "troubled",
    "with errors, or a peer that does not read",
    parameter="troubled",
    is_flag=True,
    translation={"True": "true"},
)
_PEER_FILTER = Option("peer", "with this address, or address:port", "PEER", "peer")

_COLUMNS = (
    Column("Peer"),
    Column("State"),
    Column("Up/Down"),
    Column("In/Out", is_right=True, spare=2),
    Column("EIDs", is_right=True),
    Column("RTT(ms)", is_right=True, spare=3),
    Column("Transport", spare=1),
    Column("Key", spare=5),
    Column("Site", spare=4),
)


def _sessions(look: Look) -> Iterator[Block]:
    overview = look.get("/overview", OverviewView)
    yield Line(
        f"Sessions for {' and '.join(overview.roles)}, total: {overview.sessions},"
        f" established: {overview.established_sessions}",
        Tone.HEADING,
    )
    yield Line("* = the peer does not read, # = there were errors", Tone.FAINT)
    if "etr" in overview.roles and "map-server" not in overview.roles:
        yield Table(_COLUMNS, _rows(_of_an_etr(look), look))
        return
    listing = look.items(SessionView)
    yield Table(_COLUMNS, _rows(listing, look))
    yield from left_out(listing)


def _of_an_etr(look: Look) -> list[SessionView]:
    """Return the sessions that an ETR has opened: they are few, and stand with its Map-Servers."""
    links = look.get("/etr", EtrView).map_servers
    return [link.session for link in links if link.session is not None]


def _rows(sessions: Iterable[SessionView], look: Look) -> Iterator[tuple[Text, ...]]:
    for session in sessions:
        yield (
            session.peer,
            _marked(session),
            look.age(session.since),
            f"{session.messages_in}/{session.messages_out}",
            str(session.registrations),
            milliseconds(session.rtt),
            session.transport,
            session.key.partition(",")[0],
            session.site,
        )


def _marked(session: SessionView) -> Cell:
    """Return the state, with a mark for each kind of trouble."""
    marks = f"{'*' if session.is_paused else ''}{'#' if session.errors else ''}"
    state = state_cell(session.state)
    return Cell(f"{state.text}{marks}", Tone.WARNING) if marks else state


def _session(look: Look) -> Iterator[Block]:
    try:
        found = look.get(look.path, SessionView)
    except ApiError as failure:
        overview = look.get("/overview", OverviewView)
        if failure.status != 404 or "map-server" in overview.roles:
            raise
        found = _the_one(look, failure)
    yield from session_blocks(found, look)


def _the_one(look: Look, failure: ApiError) -> SessionView:
    """Return an ETR's session that is meant."""
    peer = look.arguments.peer
    for session in _of_an_etr(look):
        if peer in (session.peer, session.peer.rpartition(":")[0].strip("[]"), str(session.id)):
            return session
    raise failure


def session_blocks(session: SessionView, look: Look) -> Iterator[Block]:
    """Yield everything about one session."""
    rtt = milliseconds(session.rtt)
    yield Line(f"Session {session.id} with {session.peer}", Tone.HEADING)
    yield Facts(
        (
            ("Peer address", session.peer),
            ("Local address", session.local),
            ("Session type", session.role),
            ("Transport", session.transport),
            ("Session state", state_cell(session.state)),
            ("Up/Down", f"{look.age(session.since)}, since {look.moment(session.since)}"),
            ("Round-trip time", f"{rtt} ms" if rtt else ""),
            ("Site", session.site),
            ("xTR-ID", hex_words(session.xtr_id)),
            ("Site-ID", session.site_id),
            ("Key", session.key),
            ("Messages in/out", f"{session.messages_in}/{session.messages_out}"),
            ("Octets in/out", f"{session.octets_in}/{session.octets_out}"),
            ("EID-prefixes held", str(session.registrations)),
            ("Octets queued", _queued(session)),
            ("Notifications pending", str(session.pending_notifications)),
        ),
        indent=2,
    )
    yield from _counted("Errors", session.errors)
    if session.uses:
        yield Line()
        yield Line("Users")
        columns = (Column("Type"), Column("Inst ID", True), Column("AFI"), Column("Count", True))
        rows = [(use.kind, str(use.instance_id), use.afi, str(use.count)) for use in session.uses]
        yield Table(columns, rows, indent=2)
    yield from _counted("Counters", session.counters)


def _queued(session: SessionView) -> str:
    paused = ", and the peer does not read for now" if session.is_paused else ""
    return f"{session.queued_octets}{paused}"


def _counted(title: str, counters: dict[str, int]) -> Iterator[Block]:
    if not counters:
        return
    yield Line()
    yield Line(title)
    rows = [(str(number), name) for name, number in sorted(counters.items())]
    yield Table((Column("Count", is_right=True), Column("What")), rows, indent=2)


SESSIONS = View(
    name="sessions",
    summary="the reliable-transport sessions",
    path=lambda _arguments: path_of("sessions"),
    draw=_sessions,
    options=(SITE, TRANSPORT, SINCE, _STATE, _PEER_FILTER, _TROUBLED),
    is_list=True,
)

SESSION = View(
    name="session",
    summary="one session, with its counters",
    path=lambda arguments: path_of("sessions", arguments.peer),
    draw=_session,
    options=(Option("peer", "address, address:port, or its number", "PEER", is_positional=True),),
)
