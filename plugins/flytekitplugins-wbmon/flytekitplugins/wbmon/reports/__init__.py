"""What all reports share: plain data, the parts of a page, what was measured."""
