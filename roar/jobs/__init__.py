"""One job: train a network on images, and measure it."""
