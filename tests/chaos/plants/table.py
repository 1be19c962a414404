"""The planted bugs: known ways in which queues lose, double or mix up work, each as a small change of ours."""

from __future__ import annotations

from tests.chaos.plants import agents, queue, replicas, settling
from tests.chaos.plants.plant import Plant

PLANTS: tuple[Plant, ...] = (*queue.PLANTS, *settling.PLANTS, *agents.PLANTS, *replicas.PLANTS)
