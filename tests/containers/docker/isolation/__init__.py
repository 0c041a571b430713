"""What a copy cannot see or reach, on engines with other defaults and with neighbours."""
