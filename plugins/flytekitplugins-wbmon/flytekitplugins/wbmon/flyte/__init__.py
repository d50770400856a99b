"""What the package needs of flytekit beyond its documented API."""
