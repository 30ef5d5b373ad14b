"""What the backends that look at pictures share: preprocessing, and facts of a model's folder."""
