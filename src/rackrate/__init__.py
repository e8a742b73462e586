"""What a million tokens costs on hardware you rent or own, at your own traffic, and when that beats an API."""

__version__ = "0.1.0"
