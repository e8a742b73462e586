"""What is asked of a deployment: how many tokens in and out, how often, and with what prompts."""
