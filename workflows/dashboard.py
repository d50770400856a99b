"""`make dashboard`: the W&B workspace and report over the nights of a monitor.

python -m workflows.dashboard --entity my-team --project wbmon-demo
"""

from __future__ import annotations

import argparse

from flytekitplugins.wbmon.publish.dashboard import CLASSIFICATION, REGRESSION, save_dashboard


def main() -> None:
    """Save both, with the W&B login of this machine."""
    parser = argparse.ArgumentParser(description="Save the W&B workspace and report of a monitor.")
    parser.add_argument("--entity", required=True, help="W&B user or team")
    parser.add_argument("--project", required=True, help="W&B project")
    parser.add_argument(
        "--task", choices=("classification", "regression"), default="classification"
    )
    options = parser.parse_args()
    metrics = REGRESSION if options.task == "regression" else CLASSIFICATION
    saved = save_dashboard(entity=options.entity, project=options.project, metrics=metrics)
    print(f"workspace: {saved.workspace_url}\nreport:    {saved.report_url}")


if __name__ == "__main__":
    main()
