"""What a voter does besides Raft: sign, record promises, and vouch for its store."""
