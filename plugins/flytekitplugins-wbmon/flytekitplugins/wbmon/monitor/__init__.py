"""The pipeline without a platform: one package for each thing that is monitored."""
