"""TOML, environment and flags in; one frozen, checked `Config` out."""
