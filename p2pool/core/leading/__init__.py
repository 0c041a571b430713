"""What a node does while it leads: decisions, orders, reports, the committee, announcements."""
