"""What all reports share: their base class, measurements, JSON, and the elements of a page."""
