"""The link: commands in, replies out, whichever Redis they concern.

Owns: choosing the lane, the deadline of a question, what may be repeated, and the installation marker's guard.
Promises:
- Nothing whose outcome is unknown is ever sent again. Repeated are only commands answered by NOSCRIPT, MOVED, ASK,
  TRYAGAIN, LOADING or CLUSTERDOWN, which prove that nothing ran; within the deadline.
- A master that is away fails its own questions at once (StoreUnavailable) and nobody else's.
- A full queue refuses at once (Overloaded: 503 with Retry-After).
- A master that is not this installation's is away (installation.py).
Must not know: what the commands mean.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio

from pushctl.config.model import Redis
from pushctl.errors import Overloaded, StoreUnavailable
from pushctl.liveness import Liveness
from pushctl.log import get_logger
from pushctl.reasons import Code, Reason
from pushctl.registry.connection import Argument, Connection, ErrorReply, Reply, pack
from pushctl.registry.installation import Installation
from pushctl.registry.lane import Call, Lane, NotAdmitted, NotConfirmed, TimedOut, Waiting
from pushctl.registry.masters import Masters
from pushctl.registry.node import Node
from pushctl.registry.question import Question, key_of
from pushctl.registry.script import Lane as LaneName
from pushctl.registry.script import Script
from pushctl.tally import LinkTally

MARKER_SECONDS = 5.0
"""Between two looks at the installation marker."""

PAUSE_SECONDS = (0.02, 0.1)
"""Before a question is repeated because a slot or a Cluster was not ready for it."""

MAX_HASTE = 3
"""So many times in a row a question is repeated at once."""

_ONLY_LATER = ("TRYAGAIN", "LOADING", "CLUSTERDOWN")


class Link:
    """Run `run` in a nursery; then `ask`, `run_script` and `post`."""

    def __init__(
        self,
        settings: Redis,
        *,
        name: str,
        installation: Installation | None = None,
        tally: LinkTally | None = None,
        liveness: Liveness | None = None,
    ) -> None:
        """`tally`: where it counts what it does; it has one of its own without."""
        self._settings = settings
        self.tally = tally or LinkTally()
        self._masters = Masters(
            settings, name=name, admit=self._admit, tally=self.tally, liveness=liveness or Liveness()
        )
        self._installation = installation
        self._settled = False
        """The marker was looked at: from now on no master without it is admitted."""
        self._log = get_logger(part="link", name=name)

    # --- who is there ------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Every master can be asked."""
        return self._masters.connected

    def is_connected(self, key: str | bytes) -> bool:
        """The master of this key can be asked."""
        return self._masters.of_key(key).connected

    @property
    def is_cluster(self) -> bool:
        return self._masters.is_cluster

    @property
    def masters(self) -> list[str]:
        """Their addresses, as `ask_master` takes them."""
        return [str(node) for node in self._masters.nodes]

    @property
    def when_back(self) -> list[Callable[[], None]]:
        """Called when a connection is back after a loss: what was missed meanwhile must be looked up."""
        return self._masters.when_back

    async def wait_connected(self, key: str | bytes | None = None) -> None:
        """Returns at once while the master of this key (None: any master) is connected, else when it is back."""
        # Of no key: of_key prefers a connected one.
        await self._masters.wait_until(lambda: self._masters.of_key(key).connected)

    def why_not(self) -> list[Reason]:
        """Why this registry cannot be used: no master answers, or one must not be used. One of several that is away
        takes only its own users with it."""
        nodes = self._masters.nodes
        refused = [Reason(Code.REDIS_UNUSABLE, node.problem) for node in nodes if node.refused]
        if refused or any(node.connected for node in nodes):
            return refused
        return [Reason(Code.REDIS_AWAY, problem) for problem in dict.fromkeys(node.problem for node in nodes)]

    # --- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, *command: Argument, lane: LaneName = "quick", near: str | None = None) -> Reply:
        """One command, its reply; `near`: to the master of this key.

        Raises StoreUnavailable after `redis.timeout_seconds`, or at once without Redis, and for every error reply: none
        of ours is the peer's fault.
        """
        (reply,) = await self._answer([Question(command, near or key_of(command), lane)])
        return self._checked(command[0], reply)

    async def ask_all(
        self, commands: Sequence[Sequence[Argument]], *, lane: LaneName = "quick", near: str | None = None
    ) -> list[Reply]:
        """Independent commands in one round trip, their replies in order; `near`: all to the master of this key. Raises
        as `ask`."""
        if not commands:
            return []
        replies = await self._answer([Question(command, near or key_of(command), lane) for command in commands])
        return [self._checked(command[0], reply) for command, reply in zip(commands, replies, strict=True)]

    async def run_script(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """Run a script by its hash; by its source when Redis has lost it."""
        (reply,) = await self.run_scripts([(script, keys, arguments)])
        return reply

    async def run_scripts(self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]]) -> list[Reply]:
        """As `run_script`, independent ones in one round trip; their replies in order."""
        if not calls:
            return []
        questions = [
            Question(("EVALSHA", script.sha1, len(keys), *keys, *arguments), keys[0], script.lane, script)
            for script, keys, arguments in calls
        ]
        replies = await self._answer(questions)
        return [self._checked(script.name, reply) for (script, _, _), reply in zip(calls, replies, strict=True)]

    async def run_packed(
        self, script: Script, key: str, packed: bytes, command: Callable[[], Sequence[Argument]]
    ) -> Reply:
        """As `run_script`, for what is asked for every message: `packed` is the whole command, with the hash, and
        `command` makes its parts, should it have to be repeated."""
        lane = self._masters.of_key(key).lane(script.lane)
        self._refuse_unless_free(lane, len(packed))
        call = Call(trio.lowlevel.current_task(), 1)
        waiting = Waiting(packed, call)
        lane.put_timed(waiting, call)

        def give_up(_: object) -> trio.lowlevel.Abort:
            call.task = None
            self.tally.abandoned += 1
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)
        if call.failure is not None:
            self.tally.abandoned += isinstance(call.failure, TimedOut)
            raise self._failed(call.failure)
        reply = waiting.reply
        if not isinstance(reply, ErrorReply):
            return reply
        questions, replies = [Question(command(), key, script.lane, script)], [reply]
        with self._deadline(call.due):
            await self._repeat(questions, replies)
        return self._checked(script.name, replies[0])

    async def ask_masters(self, *command: Argument) -> dict[str, Reply]:
        """A command without a key (INFO, TIME, SCAN, CONFIG GET) to every master: replies by address. As `ask`."""
        nodes = self._masters.nodes
        replies = await self._answer([Question(command, None, node=node) for node in nodes])
        return {str(node): self._checked(command[0], reply) for node, reply in zip(nodes, replies, strict=True)}

    async def ask_any(self, *command: Argument) -> Reply:
        """A command without a key that changes nothing (TIME), to any master; to the next if that one is just going.
        Raises as `ask`, of the last."""
        nodes = self._masters.nodes
        random.shuffle(nodes)
        nodes.sort(key=lambda node: node.connected)
        while True:
            try:
                (reply,) = await self._answer([Question(command, None, node=nodes.pop())])
            except StoreUnavailable:
                if not nodes:
                    raise
            else:
                return self._checked(command[0], reply)

    async def ask_master(self, address: str, *command: Argument) -> Reply:
        """A command without a key to one master, named as in `masters`. Raises as `ask`."""
        node = next((node for node in self._masters.nodes if str(node) == address), None)
        if node is None:
            raise StoreUnavailable(f"{address} is no master any more")
        (reply,) = await self._answer([Question(command, None, node=node)])
        return self._checked(command[0], reply)

    def post(self, *command: Argument) -> bool:
        """Send a hint without waiting. False when it was dropped (no Redis, full queue): a lost hint costs latency."""
        packed = pack(command)
        lane = self._masters.of_key(key_of(command)).lane("quick")
        if not lane.connected or lane.is_full(len(packed)):
            self.tally.hints_dropped += 1
            return False
        lane.put(Waiting(packed, None))
        return True

    def post_script(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> bool:
        """As `post`, for a script. By source: there is nobody to repeat it after NOSCRIPT. Keep such scripts short."""
        return self.post("EVAL", script.source, len(keys), *keys, *arguments)

    def heard_error(self, error: str) -> None:
        """What an error reply on a connection of the caller's own says about the masters."""
        self._masters.heard_error(error)

    async def open_connection(self, key: str, *, name: str) -> Connection:
        """A connection of the caller's own to the master of a key, for what blocks or listens. Raises StoreUnavailable.
        It is broken off when the link loses that master."""
        node = self._masters.of_key(key)
        if node.refused:
            raise StoreUnavailable(node.problem)
        address = await self._masters.locate(node)
        connection = await Connection.open(address, name=f"pushctl-{name}", seconds=self._settings.timeout_seconds)
        node.welcome(connection)
        return connection

    async def prove_ours(self, key: str) -> None:
        """Asked after `key` was not found: is that the truth, or was its master emptied? Raises StoreUnavailable."""
        if self._installation is None:
            return
        node = self._masters.of_key(key)
        value = await self.ask("GET", self._installation.near(key, lambda slot: self._masters.holds(node, slot)))
        problem = self._installation.verdict([value], str(node))
        self._leave_if_foreign(node, problem)
        if problem:
            raise StoreUnavailable(problem)

    async def verdicts(self, installation: Installation) -> dict[str, str | None]:
        """Of each master that answers: why it is not this installation's, None if it is."""
        return {str(node): problem for node, problem in await self._verdicts(installation)}

    async def is_unused(self, installation: Installation) -> bool:
        """Nobody has marked this registry, or left anything in it that every role leaves."""
        return not any(await self.ask_all([*installation.signs_of_life(), *installation.any_marks()]))

    async def adopt(self, installation: Installation) -> None:
        """Mark every master as this installation's, whatever was lost there; not one that is another's."""
        await self.ask_all(installation.marks(), lane="sure")

    # --- one question ------------------------------------------------------------------------------------------------

    async def _answer(self, questions: list[Question]) -> list[Reply]:
        """Their replies, in order; redirections followed, within one deadline."""
        with self._deadline(trio.current_time() + self._settings.timeout_seconds):
            replies = await self._send(questions)
            await self._repeat(questions, replies)
        return replies

    async def _repeat(self, questions: list[Question], replies: list[Reply]) -> None:
        """Ask again what did not run, until it did or never will; into `replies`."""
        rounds = 0
        while again := [n for n, reply in enumerate(replies) if isinstance(reply, ErrorReply)]:
            later = [self._prepare_again(questions[n], str(replies[n])) for n in again]
            again = [n for n, verdict in zip(again, later, strict=True) if verdict is not None]
            if not again:
                break
            rounds += 1
            # Two nodes that send us to each other know no better yet.
            if "later" in later or rounds > MAX_HASTE:
                await trio.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - jitter is no secret
            for n in again:
                # A node that has just become a master may not be connected yet.
                await self._masters.wait_until(lambda n=n: self._node_of(questions[n]).connected)  # type: ignore[misc]
            for n, reply in zip(again, await self._send([questions[n] for n in again]), strict=True):
                replies[n] = reply

    @contextmanager
    def _deadline(self, moment: float) -> Iterator[None]:
        try:
            with trio.fail_at(moment):
                yield
        except trio.TooSlowError:
            seconds = self._settings.timeout_seconds
            raise self._failed(TimedOut(f"Redis did not answer within {seconds:g} s")) from None

    def _prepare_again(self, question: Question, error: str) -> str | None:
        """What to do about an error reply that proves that nothing ran: now, later; None: it is no such reply."""
        word, _, rest = error.partition(" ")
        if word == "NOSCRIPT" and question.script is not None:
            question.command = ("EVAL", question.script.source, *question.command[2:])
            return "now"
        question.asking = False
        if word in ("MOVED", "ASK"):
            question.node = self._masters.at(rest.split()[-1], for_good=word == "MOVED")
            question.asking = word == "ASK"
            return "now"
        if word in _ONLY_LATER:
            if question.key is not None:
                question.node = None
            return "later"
        return None

    async def _send(self, questions: Sequence[Question]) -> list[Reply]:
        """Send commands together, wait until all have come, and say what each was answered."""
        ways: list[tuple[Lane, bytes]] = []
        sizes: dict[Lane, int] = {}
        for question in questions:
            lane = self._node_of(question).lane(question.lane)
            packed = pack(question.command)
            sizes[lane] = sizes.get(lane, 0) + len(packed)
            self._refuse_unless_free(lane, sizes[lane])
            ways.append((lane, packed))
        call = Call(trio.lowlevel.current_task(), len(ways))
        together: list[Waiting] = []
        for (lane, packed), question in zip(ways, questions, strict=True):
            together.append(waiting := Waiting(packed, call, asking=question.asking))
            lane.put(waiting)

        def give_up(_: object) -> trio.lowlevel.Abort:
            # Not sent yet: the writer will skip it. Sent: its reply is still matched, and thrown away.
            call.task = None
            self.tally.abandoned += len(together)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)
        if call.failure is not None:
            raise self._failed(call.failure)
        return [waiting.reply for waiting in together]

    def _refuse_unless_free(self, lane: Lane, size: int) -> None:
        """Raises StoreUnavailable, Overloaded if this lane takes nothing of that size now."""
        if not lane.connected:
            self.tally.failures["away"] += 1
            raise StoreUnavailable(lane.problem)
        if lane.is_full(size):
            self.tally.failures["overloaded"] += 1
            raise Overloaded("too many requests wait for Redis")

    def _failed(self, failure: StoreUnavailable) -> StoreUnavailable:
        """It, counted."""
        words = {NotConfirmed: "not_confirmed", TimedOut: "timeout"}
        self.tally.failures[words.get(type(failure), "lost")] += 1
        return failure

    def _node_of(self, question: Question) -> Node:
        if question.node is not None and question.node.stopped and question.key is not None:
            question.node = None
        return question.node or self._masters.of_key(question.key)

    def _checked(self, what: Argument, reply: Reply) -> Reply:
        if isinstance(reply, ErrorReply):
            self.tally.failures["refused"] += 1
            self._log.error("redis_refused", what=what, error=str(reply))
            raise StoreUnavailable("Redis refused")
        return reply

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, report started, and keep connected until cancelled.

        Raises Unreachable when nothing that may be used is found within `redis.connect_seconds`.
        """
        async with trio.open_nursery() as nursery:
            await self._masters.begin(nursery)
            if self._installation is not None:
                await self._settle(self._installation)
                nursery.start_soon(self._watch_markers, self._installation)
            nursery.start_soon(self._masters.keep_map)
            task_status.started()

    # --- the installation marker -------------------------------------------------------------------------------------

    async def _settle(self, installation: Installation) -> None:
        """Find out whether this registry is ours; adopt it if nobody has used it. Raises Unreachable when nothing of it
        may be used."""
        with trio.move_on_after(self._settings.connect_seconds):
            # Perhaps another role is just adopting it: nobody tells us when it has.
            while not await self._is_settled(installation):  # noqa: ASYNC110
                await trio.sleep(random.uniform(0.1, 0.3))  # noqa: S311 - jitter is no secret
        self._settled = True
        await self._look_at_markers(installation)
        if not any(node.connected for node in self._masters.nodes):
            raise self._masters.unreachable(self._masters.nodes[0].problem)

    async def _is_settled(self, installation: Installation) -> bool:
        try:
            if not await self.is_unused(installation):
                values = await self.ask_all([("GET", key) for key in installation.keys])
                return installation.verdict(values, "") is None
            if not self._settings.adopt_empty:
                return False
            await self.adopt(installation)
        except StoreUnavailable as error:
            self._log.warning("marker_unknown", detail=error.detail)
            return not self.connected  # a Cluster that is partly away: each master that answers is looked at
        self._log.info("registry_adopted", installation=installation.name)
        return True

    def _markers_of(self, node: Node, installation: Installation) -> list[str]:
        return installation.held_by(lambda slot: self._masters.holds(node, slot))

    async def _admit(self, node: Node, connection: Connection) -> None:
        """A connection is used only if its master is ours. Raises NotAdmitted."""
        if self._installation is None or not self._settled:
            return
        replies = [await connection.ask("GET", key) for key in self._markers_of(node, self._installation)]
        values = []
        for reply in replies:
            if not isinstance(reply, ErrorReply):
                values.append(reply)
            elif not str(reply).startswith(("MOVED", "ASK")):  # those: the slot is just moving elsewhere
                raise StoreUnavailable(f"Redis at {node} does not say whose it is: {reply}")
        problem = self._installation.verdict(values, str(node))
        if problem:
            raise NotAdmitted(problem)

    async def _verdicts(self, installation: Installation) -> list[tuple[Node, str | None]]:
        found = []
        for node in self._masters.nodes:
            try:
                values = await self.ask_all([("GET", key) for key in self._markers_of(node, installation)])
            except StoreUnavailable:
                continue
            found.append((node, installation.verdict(values, str(node))))
        return found

    async def _look_at_markers(self, installation: Installation) -> None:
        """Leave every master that does not hold the marker (any more)."""
        for node, problem in await self._verdicts(installation):
            self._leave_if_foreign(node, problem)

    def _leave_if_foreign(self, node: Node, problem: str | None) -> None:
        if problem:
            self._log.error("registry_not_ours", detail=problem)
            node.expel(problem, refused=True)

    async def _watch_markers(self, installation: Installation) -> None:
        while True:
            await trio.sleep(MARKER_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            await self._look_at_markers(installation)
