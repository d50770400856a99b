"""Where reports go: the run, its artifacts, dashboards."""
