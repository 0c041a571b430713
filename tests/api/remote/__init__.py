"""Tests of reaching an agent from elsewhere: certificates that change, and reverse proxies."""
