"""Changes to images while a network trains, and corruptions to test it on."""
