"""The leaderboard: a pure function of result records. Nothing heavy is imported."""
