"""Tests of pushctl/config."""
