"""Tests of pushctl/cli."""
