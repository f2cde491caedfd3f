"""Which agent of a scene is which slot, and the rows that wait for their slot to be asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from wmrun_envserver.backends.unity_rows import AgentRow


@dataclass
class _Slot:
    in_episode: bool = False
    """An episode was begun by a row that was not taken back: the next decision goes on with it."""
    running: bool = False
    """The row handed out last was not the end of an episode."""
    waiting: bool = False
    """Its last row was answered."""
    rows: deque[AgentRow] = field(default_factory=deque)


class AgentSlots:
    """The slots of one player, each the place of one agent at a time.

    An agent has the slot where it was before. One that appears for the first time gets the lowest
    slot that no agent has had; where there is none, the slot of the agent that ended longest ago
    and began no new episode since. As that agent's episode is over and the newcomer's begins with a
    first row, no row of one is taken for the other's. One more agent in an episode than there are
    slots is an error.
    """

    def __init__(self, num_slots: int, behavior: str) -> None:
        self._slots = [_Slot() for _ in range(num_slots)]
        self._places: dict[int, int] = {}
        """The slot of each agent that has one."""
        self._behavior = behavior
        self._ended: list[int] = []
        """Slots whose agent is in no episode, that of the first to end first."""

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def running(self) -> set[int]:
        """The slots that are in the middle of an episode, for whoever reads their rows."""
        return {index for index, slot in enumerate(self._slots) if slot.running}

    @property
    def vacant(self) -> bool:
        """Whether there is a slot that no agent had yet."""
        return len(self._places) < len(self._slots)

    def end(self, row: AgentRow) -> None:
        """Take in the last row of an agent's episode; one that never asked needs no slot."""
        if row.agent not in self._places:
            return
        index = self._place(row.agent)
        slot = self._slots[index]
        if slot.in_episode:
            slot.rows.append(row)
        slot.in_episode = False
        self._ended.append(index)

    def ask(self, row: AgentRow) -> int:
        """Take in the row of an agent that wants an action, and return its slot."""
        index = self._place(row.agent)
        slot = self._slots[index]
        slot.rows.append(row if slot.in_episode else row._replace(reward=0.0, is_first=True))
        slot.in_episode = True
        return index

    def wait_for(self, slots: Sequence[int]) -> None:
        """Note that the last row of these slots was answered.

        Slots that no agent had yet have no row to be answered, and wait with them.
        """
        for index in (*slots, *range(len(self._places), len(self._slots))):
            self._slots[index].waiting = True

    def ready(self) -> list[int]:
        """Return the slots whose next row is there and may be handed out."""
        return [index for index, slot in enumerate(self._slots) if slot.waiting and slot.rows]

    def has_row(self, index: int) -> bool:
        """Whether a row of this slot was not handed out yet."""
        return bool(self._slots[index].rows)

    def take(self, index: int) -> AgentRow:
        """Hand out the next row of a slot."""
        slot = self._slots[index]
        row = slot.rows.popleft()
        slot.waiting = False
        slot.running = not (row.terminated or row.truncated)
        return row

    def take_back_first(self, index: int) -> bool:
        """Forget the newest row of a slot if it begins an episode and was not handed out.

        The episode then begins with the agent's next decision.
        """
        slot = self._slots[index]
        if not slot.rows or not slot.rows[-1].is_first:
            return False
        slot.rows.pop()
        slot.in_episode = False
        return True

    def restart(self) -> None:
        """Begin anew, every agent at its place: the player reset the scene."""
        for slot in self._slots:
            slot.rows.clear()
            slot.in_episode = slot.running = False
        self._ended = sorted(self._places.values())

    def _place(self, agent: int) -> int:
        index = self._places.get(agent)
        if index is None:
            index = self._room_for(agent)
            self._places[agent] = index
        if index in self._ended:
            self._ended.remove(index)
        return index

    def _room_for(self, agent: int) -> int:
        if self.vacant:
            return len(self._places)
        if self._ended:
            index = self._ended[0]
            del self._places[next(old for old, place in self._places.items() if place == index)]
            return index
        raise TooManyAgents(
            f"agent {agent} of behavior {self._behavior!r} is one more than the {len(self)} slots "
            "of this player: set the option agents to the most agents that are in the scene at "
            "once (and num_envs to a multiple of it)"
        )


class TooManyAgents(RuntimeError):
    """More agents are in an episode at once than there are slots."""
