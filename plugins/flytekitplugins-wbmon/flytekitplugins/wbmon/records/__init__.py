"""What flows between the stages: plain frozen records, one module for each stage."""
