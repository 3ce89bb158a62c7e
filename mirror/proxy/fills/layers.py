"""The blobs of one image that were begun ahead, lowest first: who comes for one has the ones above it as well.

Engines take layers from the lowest that they lack upwards, and what lies on a layer that is new is new to them, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirror.proxy.fills.hold import Hold

MOST_BYTES = 2 * 1024**3
"""How much of an image goes on before it is asked for: so much is fetched in vain at most when a pull is given up."""


@dataclass(slots=True)
class _Layer:
    """What holds it, its size in bytes, and how much of that counts while it goes on unclaimed."""

    hold: Hold
    size: int | None
    counted: int = 0


class Layers:
    """Lets the layers of an image go on once somebody comes for one below them."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self._lowest: int | None = None

    def begun(self, hold: Hold, size: int | None) -> None:
        """The next layer was begun; `size` is in bytes, None where nobody knows."""
        self._layers.append(_Layer(hold, size))
        self._let_go_on()

    def fetched(self) -> None:
        """The next layer is being fetched already, for a client."""
        self._comes_for(len(self._layers) - 1)

    def claimed(self, hold: Hold) -> None:
        """Somebody came for this one."""
        for place, layer in enumerate(self._layers):
            if layer.hold is hold:
                layer.counted = 0
                self._comes_for(place)

    def _comes_for(self, place: int) -> None:
        self._lowest = place if self._lowest is None else min(self._lowest, place)
        self._let_go_on()

    def _let_go_on(self) -> None:
        if self._lowest is None:
            return
        left = MOST_BYTES - sum(layer.counted for layer in self._layers)
        for layer in self._layers[self._lowest + 1 :]:
            if layer.hold.is_held and layer.size is not None and layer.size <= left:
                layer.counted = layer.size
                left -= layer.size
                layer.hold.release()
