"""The prediction log: its schema, and the compaction of its segments into daily Parquet files."""
