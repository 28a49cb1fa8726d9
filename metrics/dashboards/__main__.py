"""Write the dashboards beside the package, where Grafana's provisioning or a person takes them."""

from __future__ import annotations

from pathlib import Path

from metrics.dashboards import files

FOLDER = Path(__file__).resolve().parents[1] / "grafana"

if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
