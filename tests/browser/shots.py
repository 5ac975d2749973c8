"""Pictures of every notebook in real Lab, in both themes: `python -m tests.browser.shots FOLDER`.

For eyes, not for a test. `who-is-failing.png` among them is the README's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import Lab, Visit, launch_chromium, running_lab, visit

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
WITH_CHARTS = "04-who-is-failing"
PRESSES = {"01-check-settings": "Check", "03-send-a-test": "Send"}
TALL = "() => document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollHeight + 140"


def set_theme(lab: Lab, name: str) -> None:
    settings = lab.state / "config/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"theme": name}))


def run(somebody: Visit, notebook: str) -> None:
    """Everything there is to see: all cells run, the panel's button pressed, the page as tall as the notebook."""
    somebody.open_notebook(notebook)
    somebody.execute("application:toggle-left-area")
    somebody.run_all()
    page = somebody.page
    if button := PRESSES.get(notebook):
        pressed = page.locator(".jp-OutputArea").get_by_role("button", name=button, exact=True)
        pressed.click()
        page.locator(".jp-OutputArea .kit-big").first.wait_for()
        expect(pressed).to_be_enabled()
    page.set_viewport_size({"width": 1400, "height": min(6000, page.evaluate(TALL))})
    page.evaluate("() => { document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollTop = 0 }")
    page.wait_for_timeout(1000)  # plotly draws what it was resized to


def picture_of_the_chart(somebody: Visit, path: Path) -> None:
    """The panel alone, about 1400 pixels wide: what is behind it, and the charts."""
    page = somebody.page
    page.set_viewport_size({"width": 1590, "height": 3400})
    page.wait_for_timeout(1000)
    panel = page.locator(".jp-OutputArea-output .widget-vbox").filter(has=page.locator(".js-plotly-plot"))
    box = panel.filter(has=page.locator(".kit-tries")).last.bounding_box()  # the innermost
    charts = page.locator(".js-plotly-plot").nth(1).bounding_box()
    page.screenshot(path=path, clip=box | {"height": charts["y"] + charts["height"] - box["y"]})


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, running_lab(Path(place)) as lab, sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        for theme, name in THEMES.items():
            set_theme(lab, name)
            for notebook in sorted(path.stem for path in (lab.home / "notebooks").glob("*.ipynb")):
                with visit(lab, chromium) as somebody:
                    run(somebody, notebook)
                    somebody.page.screenshot(path=folder / f"{notebook}-{theme}.png")
                    if notebook == WITH_CHARTS and theme == "light":
                        picture_of_the_chart(somebody, folder / "who-is-failing.png")
                print(folder / f"{notebook}-{theme}.png")
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
