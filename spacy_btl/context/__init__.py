"""What a note says of its mentions, by the trigger terms of NegEx and ConText."""
