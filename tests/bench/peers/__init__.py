"""What p2pool is measured against: etcd, Serf and plain docker."""
