"""The pipeline without a platform: profile, compare, measure, decide."""
