"""A chart as wide as the page lets it be."""

from __future__ import annotations

import anywidget


class Fit(anywidget.AnyWidget):
    """Stands unseen beside a chart and tells it when there is more or less room.

    A chart is drawn before it has a place in the page, so with a width of its own choosing, and afterwards listens to the
    window alone: not to a sidebar that opens.
    """

    _esm = """
    function render({ el }) {
      const tell = () => window.dispatchEvent(new Event("resize"));
      const room = new ResizeObserver(tell);
      room.observe(el);
      document.addEventListener("plotlywidget-after-render", tell);
      return () => {
        room.disconnect();
        document.removeEventListener("plotlywidget-after-render", tell);
      };
    }
    export default { render };
    """
