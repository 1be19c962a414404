"""What happens by itself: loops of bounded, repeatable steps."""
