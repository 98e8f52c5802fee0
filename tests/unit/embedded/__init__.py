"""Tests of pushctl/embedded."""
