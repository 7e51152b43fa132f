"""Which notes to annotate next: those that teach most about the types that are rarest so far."""
