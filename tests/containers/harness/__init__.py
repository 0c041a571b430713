"""What the tests of containers share: plans, proxies, registries and images."""
