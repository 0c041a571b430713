"""What the tests on foreign contracts share: the deployment, people at their desks, agents."""
